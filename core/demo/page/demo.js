'use strict';
// The page of `taskodec demo`: asks for a run, looks on while it goes, and shows what became of it.
(() => {
  const byId = (id) => document.getElementById(id);
  const [form, file, error, status, bar] = ['ask', 'file', 'error', 'status', 'bar'].map(byId);
  const STAGES = {
    '': 'Waiting for the worker …',
    reading: 'Reading the picture …',
    loading: 'Loading codec and networks …',
    tuning: 'Tuning …',
    comparing: 'Writing plain, JPEG and AVIF files of the same size, and asking what is seen in each …',
    drawing: 'Drawing …',
  };
  const GONE = 'The server does not answer. Is `taskodec demo` still running? This page goes on as soon as it is there again.';
  const UNKNOWN = 'The server does not know this run any more: it was started anew. Compress the picture again.';

  let about = null; // what the server offers
  let picture = null; // { name, file } of the user's own, or { name, example }
  let run = null; // the id of the run that is looked at
  let source = null; // of its events
  let sending = null; // to end an upload
  let lost = false; // the message that is shown says that the server is gone

  const bytes = (count) => `${count.toLocaleString('en')} bytes`;
  const figure = (value) => (value == null ? '–' : Number(value.toPrecision(4)).toString());
  const element = (tag, more = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), more);
    made.append(...children);
    return made;
  };

  function fail(text) {
    lost = text === GONE;
    error.textContent = text;
    if (text) error.scrollIntoView({ block: 'nearest' });
  }

  /** The JSON of an answer; an Error with a sentence for people if there is none. */
  async function ask(address, options = {}) {
    const headers = { 'X-Taskodec': 'demo' };
    const answer = await fetch(address, { ...options, headers }).catch((reason) => {
      throw reason.name === 'AbortError' ? reason : new Error(GONE);
    });
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => null);
    throw new Error(said?.error?.message ?? `The server says ${answer.status}.`);
  }

  // What is asked for

  function choose(found) {
    if (picture?.url) URL.revokeObjectURL(picture.url);
    picture = found;
    const preview = byId('preview');
    if (found.file) found.url = URL.createObjectURL(found.file);
    preview.hidden = true;
    preview.onload = () => { preview.hidden = false; }; // a format that the browser cannot show may be one for the codec
    preview.src = found.url ?? `/examples/${found.example}`;
    byId('drop-main').textContent = found.file ? `${found.name}, ${bytes(found.file.size)}` : found.name;
    for (const button of byId('examples').children) {
      button.setAttribute('aria-pressed', String(button.dataset.name === found.example));
    }
    fail('');
  }

  function chooseFiles(files) {
    if (files.length > 1) fail(`${files.length} files were dropped: this page takes one picture at a time.`);
    else if (files.length === 1) choose({ name: files[0].name, file: files[0] });
  }

  function asked() {
    if (!picture) return 'There is no picture yet: choose a photo, drop one, or take an example.';
    if (picture.file?.size === 0) return `${picture.name} is empty: choose another picture.`;
    if (picture.file?.size > about.max_body) {
      return `${picture.name} has ${bytes(picture.file.size)}, this server takes ${bytes(about.max_body)} at most: choose a smaller picture.`;
    }
    const aim = form.elements.aim.value;
    if (!byId(aim).value.trim()) return 'The aim is missing: give a quality, or a size such as 8kB.';
    return '';
  }

  function options() {
    const aim = form.elements.aim.value;
    const found = new URLSearchParams({ name: picture.name });
    if (picture.example) found.set('example', picture.example);
    for (const id of ['task', 'codec', 'steps', 'time_budget', 'megapixels', aim]) {
      if (byId(id).value.trim()) found.set(id, byId(id).value.trim());
    }
    const judges = [...document.querySelectorAll('#judges input:checked')].map((box) => box.value);
    if (judges.length) found.set('judges', judges.filter((name) => name !== byId('task').value).join());
    return found;
  }

  async function begin(event) {
    event.preventDefault();
    const problem = asked();
    fail(problem);
    if (problem) return;
    sending = new AbortController();
    show({ state: 'sending', stage: '', name: picture.name });
    try {
      const body = picture.file ?? null;
      const answer = await ask(`/runs?${options()}`, { method: 'POST', body, signal: sending.signal });
      watch((await answer.json()).id);
    } catch (reason) {
      idle();
      byId('live').hidden = true;
      fail(reason.name === 'AbortError' ? 'Cancelled.' : reason.message);
    } finally {
      sending = null;
    }
  }

  async function cancel() {
    if (sending) {
      sending.abort();
      return;
    }
    byId('cancel').disabled = true;
    try {
      await ask(`/runs/${run}`, { method: 'DELETE' });
    } catch (reason) {
      fail(reason.message);
    } finally {
      byId('cancel').disabled = false;
    }
  }

  // What comes of it

  function watch(id) {
    source?.close();
    run = id;
    source = new EventSource(`/runs/${id}/events`);
    source.addEventListener('message', ({ data }) => show(JSON.parse(data)));
    source.addEventListener('open', () => { if (lost) fail(''); });
    source.addEventListener('error', () => {
      if (source.readyState !== EventSource.CLOSED) {
        fail(GONE);
        return;
      }
      fail(UNKNOWN);
      status.textContent = '';
      idle();
    });
  }

  function idle() {
    byId('go').disabled = false;
    byId('cancel').hidden = true;
  }

  function show(state) {
    if (state.state === 'stopping') {
      fail(GONE);
      return;
    }
    const over = ['done', 'failed', 'cancelled'].includes(state.state);
    const live = byId('live');
    if (live.hidden || state.state === 'sending') {
      live.hidden = false;
      byId('result').hidden = true;
      byId('charts').replaceChildren();
      byId('charts').hidden = false;
      live.scrollIntoView({ block: 'nearest' });
    }
    byId('go').disabled = !over;
    byId('cancel').hidden = over;
    const said = state.state === 'sending' ? `Sending ${state.name} …` : STAGES[state.stage] ?? state.stage;
    if (!over && status.textContent !== said) status.textContent = said;
    progress(state, over);
    facts(state);
    if (state.charts) {
      byId('charts').innerHTML = state.charts; // drawn by the server, of numbers
      taskodec.enliven(byId('charts'));
    }
    if (!over) return;
    source?.close();
    if (state.state === 'done') done(state);
    if (state.state === 'failed') status.textContent = `${state.name} came to nothing.`;
    if (state.state === 'failed') fail(state.error.message);
    if (state.state === 'cancelled') status.textContent = `Cancelled, ${state.name} is forgotten.`;
  }

  function progress({ step, total, state, stage }, over) {
    if (over || (stage !== 'tuning' && step)) bar.value = state === 'done' || !over ? 1 : bar.value;
    else if (step && total) bar.value = step / total;
    else bar.removeAttribute('value');
  }

  function facts({ step, total, first, loss, bpp, best, cost, width, height, seconds }) {
    const rows = [];
    if (step) rows.push(['step', `${step}`, `of ${total}`]);
    if (first) {
      rows.push(['task loss', figure(loss), `first ${figure(first.loss)}`]);
      rows.push(['bits per pixel', figure(bpp), `first ${figure(first.bpp)}`]);
      rows.push(['cost of the step', figure(cost), `first ${figure(first.cost)}`]);
      rows.push(['best cost', figure(best), 'rounded as in a file']);
      rows.push(['about', bytes(Math.round((bpp * width * height) / 8)), '']);
    }
    if (seconds != null) rows.push(['time', `${seconds} s`, '']);
    byId('figures').replaceChildren(...rows.map(([name, value, more]) => (
      element('div', {}, element('dt', { textContent: name }), element('dd', {}, value, more ? element('small', { textContent: more }) : ''))
    )));
  }

  async function done(state) {
    const { report, name, id } = state;
    status.textContent = `Done: ${bytes(report.bytes)} after ${report.steps} steps and ${report.seconds} s. Loading what became of it …`;
    try {
      const html = await (await ask(`/runs/${id}/piece`)).text();
      if (run !== id) return;
      byId('piece').innerHTML = html; // drawn by the server, every name in it escaped
    } catch (reason) {
      fail(reason.message);
      return;
    }
    byId('stream').href = `/runs/${id}/stream`;
    byId('stream').textContent = `Download the file, ${bytes(report.bytes)}`;
    byId('page').href = `/runs/${id}/page`;
    const stem = name.replace(/\.[^.]*$/, '') || 'picture';
    byId('stream').download = `${stem}.tkd`;
    byId('page').download = `${stem}.html`;
    byId('how').replaceChildren(
      'It decodes without the task: ', element('code', { textContent: `taskodec decompress ${stem}.tkd` }),
      '. Sent: ', `${report.chosen}.`,
    );
    byId('result').hidden = false;
    byId('charts').hidden = true; // the result has them, with more
    taskodec.enliven(byId('piece'));
    status.textContent = `Done: ${bytes(report.bytes)} after ${report.steps} steps and ${report.seconds.toFixed(1)} s of tuning.`;
    byId('h-result').focus({ preventScroll: true });
    byId('result').scrollIntoView({ block: 'start' });
  }

  // What there is to choose from

  function fill(select, entries, chosen) {
    for (const { name, description } of entries) select.append(element('option', { value: name, textContent: name, title: description }));
    select.value = chosen;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  }

  function describe() {
    const found = about.tasks.find(({ name }) => name === byId('task').value);
    byId('task-about').textContent = found ? `${found.name}: ${found.description}` : '';
  }

  function aimed() {
    for (const id of ['quality', 'target_bytes']) {
      byId(id).hidden = form.elements.aim.value !== id;
      byId(id).required = !byId(id).hidden;
      byId(id).disabled = byId(id).hidden;
    }
  }

  async function start() {
    try {
      about = await (await ask('/about')).json();
    } catch (reason) {
      fail(reason.message);
      setTimeout(start, 3000);
      return;
    }
    fail('');
    fill(byId('task'), about.tasks, about.chosen.task);
    fill(byId('codec'), about.codecs, about.chosen.codec);
    byId('quality').value = about.chosen.quality;
    byId('steps').value = about.chosen.steps;
    byId('steps').max = about.max_steps;
    byId('footer').append(` Version ${about.version}.`);
    for (const { name, description } of about.tasks) {
      const box = element('input', { type: 'checkbox', value: name });
      byId('judges').append(element('label', { className: 'choice', title: description }, box, name));
    }
    for (const { name, title } of about.examples) {
      const image = element('img', { src: `/examples/${name}`, alt: '' });
      const button = element('button', { type: 'button' }, image, title);
      button.dataset.name = name;
      button.setAttribute('aria-pressed', 'false');
      button.addEventListener('click', () => choose({ name, example: name }));
      byId('examples').append(button);
    }
    describe();
    aimed();
    if (about.running) watch(about.running);
  }

  form.addEventListener('submit', begin);
  byId('cancel').addEventListener('click', cancel);
  byId('task').addEventListener('change', describe);
  for (const radio of form.elements.aim) radio.addEventListener('change', aimed);
  file.addEventListener('change', () => {
    chooseFiles(file.files);
    file.value = ''; // so that the same file can be chosen again
  });
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dragging');
  });
  for (const end of ['dragleave', 'dragend', 'drop']) {
    document.addEventListener(end, () => document.body.classList.remove('dragging'));
  }
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) chooseFiles(event.dataTransfer.files);
    else fail('What was dropped is no file: save the picture first, then drop it.');
  });
  start();
})();
