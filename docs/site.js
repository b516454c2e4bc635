// What Material makes of a page when it is loaded, named for those who use a keyboard or hear it: the dialog of the
// search, tables and code that scroll, and the bar of each block of code, which is no landmark.
const name = () => {
  document.querySelector('.md-search')?.setAttribute('aria-label', 'Search');
  for (const bar of document.querySelectorAll('.md-code__nav:not([role])')) bar.setAttribute('role', 'none');
  for (const wrap of document.querySelectorAll('.md-typeset__scrollwrap:not([tabindex])')) {
    wrap.tabIndex = 0;
    wrap.setAttribute('role', 'group');
    wrap.setAttribute('aria-label', 'Table');
  }
  for (const code of document.querySelectorAll('pre > code:not([tabindex])')) {
    if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
  }
};
name();
addEventListener('resize', name);
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
