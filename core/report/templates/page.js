'use strict';
// What a page does beyond being read: a theme, the slider, numbers under the pointer, tables that sort.
(() => {
  const root = document.documentElement;
  const button = document.getElementById('theme');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);
  const kept = (value) => {
    try {
      if (value) localStorage.setItem('taskodec-theme', value);
      return localStorage.getItem('taskodec-theme');
    } catch {
      return null; // a page from a file may have no storage
    }
  };
  const name = () => {
    button.textContent = isDark() ? 'Light page' : 'Dark page';
  };
  if (['light', 'dark'].includes(kept())) root.dataset.theme = kept();
  button.hidden = false;
  button.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    kept(root.dataset.theme);
    name();
  });
  dark.addEventListener('change', name);
  name();

  const comparisons = (within) => {
    for (const compare of within.querySelectorAll('.compare')) {
      const stage = compare.querySelector('.stage');
      const layers = compare.querySelector('.layers');
      const range = compare.querySelector('input[type=range]');
      const [left, zoom, right] = compare.querySelectorAll('select');
      const uses = compare.querySelectorAll('use');
      const title = (select) => select.selectedOptions[0].textContent;
      const cut = () => {
        const share = Number(range.value) / 100;
        const x = stage.scrollLeft + share * Math.min(stage.clientWidth, layers.offsetWidth);
        stage.style.setProperty('--cut', `${x}px`);
        range.setAttribute('aria-valuetext', `${title(left)} up to ${range.value} % of the width, then ${title(right)}`);
      };
      const choose = () => {
        uses[0].setAttribute('href', `#${compare.dataset.id}-${left.value}`);
        uses[1].setAttribute('href', `#${compare.dataset.id}-${right.value}`);
        const shown = stage.querySelectorAll('svg');
        shown[0].setAttribute('aria-label', `${title(left)}, left of the line`);
        shown[1].setAttribute('aria-label', `${title(right)}, right of the line`);
        cut();
      };
      const scale = () => {
        const factor = Number(zoom.value);
        layers.style.width = factor ? `${(factor * Number(compare.dataset.width)) / devicePixelRatio}px` : '';
        stage.classList.toggle('zoomed', factor > 0);
        if (factor) stage.tabIndex = 0;
        else stage.removeAttribute('tabindex');
        cut();
      };
      const follow = (event) => {
        const box = stage.getBoundingClientRect();
        const seen = Math.min(stage.clientWidth, layers.offsetWidth);
        const x = event.clientX - box.left - layers.offsetLeft;
        range.value = String(Math.round((1000 * Math.min(1, Math.max(0, x / seen)))) / 10);
        cut();
      };
      range.addEventListener('input', cut);
      stage.addEventListener('scroll', cut);
      left.addEventListener('change', choose);
      right.addEventListener('change', choose);
      zoom.addEventListener('change', scale);
      stage.addEventListener('pointerdown', (event) => {
        if (event.pointerType === 'mouse' || !Number(zoom.value)) follow(event);
      });
      stage.addEventListener('pointermove', (event) => {
        if (event.buttons && (event.pointerType === 'mouse' || !Number(zoom.value))) follow(event);
      });
      addEventListener('resize', cut);
      compare.querySelector('.sides').hidden = false;
      range.hidden = false;
      choose();
    }
  };

  const tip = document.getElementById('tip');
  const hide = () => {
    tip.hidden = true;
  };
  const charts = (within) => {
    for (const chart of within.querySelectorAll('svg.chart')) {
      const dots = [...chart.querySelectorAll('[data-tip]')].map((dot) => ({
        x: Number(dot.dataset.x),
        y: Number(dot.dataset.y),
        text: dot.dataset.tip,
      }));
      chart.addEventListener('pointermove', (event) => {
        const box = chart.getBoundingClientRect();
        const scale = chart.viewBox.baseVal.width / box.width;
        const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
        const far = (dot) => (dot.x - x) ** 2 + (dot.y - y) ** 2;
        const nearest = dots.reduce((best, dot) => (!best || far(dot) < far(best) ? dot : best), null);
        tip.hidden = !nearest || far(nearest) > 900;
        if (tip.hidden) return;
        tip.textContent = nearest.text;
        tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
        tip.style.top = `${event.clientY + 18}px`;
      });
      chart.addEventListener('pointerleave', hide);
    }
  };
  addEventListener('scroll', hide, true);

  const tables = (within) => {
    for (const table of within.querySelectorAll('table.sortable')) {
      const heads = [...table.tHead.rows[0].cells];
      const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [p, q] = [Number.parseFloat(a), Number.parseFloat(b)];
        if (Number.isNaN(p) && Number.isNaN(q)) return a.localeCompare(b);
        if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) ? 1 : -1;
        return p - q;
      };
      heads.forEach((head, column) => {
        const press = document.createElement('button');
        press.type = 'button';
        press.textContent = head.textContent;
        head.replaceChildren(press);
        press.addEventListener('click', () => {
          const falling = head.getAttribute('aria-sort') === 'ascending';
          heads.forEach((other) => other.removeAttribute('aria-sort'));
          head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
          const rows = [...table.tBodies[0].rows].sort((a, b) => order(value(a, column), value(b, column)));
          table.tBodies[0].append(...(falling ? rows.reverse() : rows));
        });
      });
    }
  };

  // What is put into a page later, as that of `taskodec demo` does, is brought to life by the same call.
  const enliven = (within) => [comparisons, charts, tables].forEach((one) => one(within));
  window.taskodec = { enliven };
  enliven(document);
})();
