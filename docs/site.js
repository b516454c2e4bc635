// What Material makes of a page when it is loaded, named for those who use a keyboard or hear it: the dialog of the
// search, tables that scroll, and the bar of each block of code, which is no landmark.
const name = () => {
  document.querySelector('.md-search')?.setAttribute('aria-label', 'Search');
  for (const bar of document.querySelectorAll('.md-code__nav:not([role])')) bar.setAttribute('role', 'none');
  for (const wrap of document.querySelectorAll('.md-typeset__scrollwrap:not([tabindex])')) {
    wrap.tabIndex = 0;
    wrap.setAttribute('role', 'group');
    wrap.setAttribute('aria-label', 'Table');
  }
};
name();
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
