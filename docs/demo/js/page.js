// The page: takes a file, has the worker decode it, and shows what came of it.

const LARGEST_FILE = 2 ** 28;
const byId = (id) => document.getElementById(id);
const [input, gallery, status, error, figure] = ['file', 'gallery', 'status', 'error', 'figure'].map(byId);

let worker = null;
let job = 0; // of the file that was chosen last; answers to others are late
let picture = null;

/** Decode `bytes` of the file `name`; whatever was chosen before is forgotten. */
function decode(name, bytes) {
  worker ??= start();
  worker.current = name;
  worker.postMessage({ id: job, bytes }, [bytes.buffer]);
}

function start() {
  const made = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
  made.onmessage = ({ data: { id, progress, done, failed } }) => {
    if (id !== job) return;
    if (progress) show(`${progress} …`, true);
    if (done) shown(made.current, done);
    if (failed) fail(failed);
  };
  made.onerror = ({ message }) => {
    fail({ title: 'No decoder', message: message ?? 'it cannot be loaded by this browser', fatal: true });
  };
  return made;
}

function show(text, busy = false) {
  status.textContent = text;
  status.classList.toggle('busy', busy);
}

/** Scroll there, if it is out of sight. */
function bring(element) {
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  element.scrollIntoView({ block: 'nearest', behavior: still ? 'auto' : 'smooth' });
}

function fail({ title, message, fatal = false }) {
  show('');
  error.querySelector('strong').textContent = `${title}:`;
  error.querySelector('span').textContent = `${message.replace(/\.$/, '')}.`;
  error.hidden = false;
  bring(error);
  if (fatal) {
    worker?.terminate();
    worker = null;
  }
}

function shown(name, { header, seconds, png, adapter, size }) {
  const { width, height } = header;
  if (picture) URL.revokeObjectURL(picture);
  picture = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
  const image = byId('picture');
  image.src = picture;
  image.alt = `The picture that ${name} holds`;
  [image.width, image.height] = [width, height];
  image.classList.toggle('tiny', Math.max(width, height) < 96);
  byId('name').textContent = name;
  byId('facts').replaceChildren(...facts(header, seconds, adapter, size).flatMap(([term, value]) => row(term, value)));
  const download = byId('download');
  download.href = picture;
  download.download = `${name.replace(/\.tkd$/i, '')}.png`;
  figure.hidden = false;
  show(`${name} is decoded, in ${seconds.toFixed(2)} seconds`);
  bring(figure);
}

function facts({ width, height, quality, codec, codecFingerprint, hasDelta }, seconds, adapter, size) {
  const raw = (3 * width * height) / size;
  return [
    ['File', `${size.toLocaleString('en')} bytes${raw >= 2 ? `, 1/${Math.round(raw)} of the raw pixels` : ''}`],
    ['Rate', `${((8 * size) / (width * height)).toFixed(3)} bits a pixel`],
    ['Size', `${width} × ${height} pixels`],
    ['Codec', `${codec} (weights ${codecFingerprint})`],
    ['Quality', `${quality}`],
    ['Adapter', adapter ? `${adapter.name}${adapter.about ? `: ${adapter.about}` : ''}` : 'none'],
    ['Decoder', hasDelta ? 'with singular values of the file’s own' : adapter ? 'as the adapter has it' : 'as it is'],
    ['Decoded in', `${seconds.toFixed(2)} seconds`],
  ];
}

function element(tag, textContent) {
  return Object.assign(document.createElement(tag), { textContent });
}

function row(term, value) {
  return [element('dt', term), element('dd', value)];
}

/** A file of the user's, or one of the gallery; `read` gives its bytes. */
async function open(name, read, button = null) {
  const mine = ++job;
  for (const other of gallery.querySelectorAll('button')) other.setAttribute('aria-current', String(other === button));
  error.hidden = true;
  figure.hidden = true;
  show(`Reading ${name} …`, true);
  try {
    const bytes = await read();
    if (mine === job) decode(name, bytes);
  } catch ({ message }) {
    if (mine === job) fail({ title: 'Not read', message: `${name} cannot be read (${message})` });
  }
}

function openFile(file) {
  if (!file) return;
  open(file.name, async () => {
    if (file.size > LARGEST_FILE) throw new Error(`${file.size} bytes are more than any stream has`);
    return new Uint8Array(await file.arrayBuffer());
  });
}

async function openUrl(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server says ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function fillGallery() {
  const base = new URL('streams/', document.baseURI);
  const response = await fetch(new URL('index.json', base)).catch(() => null);
  if (!response?.ok) return; // a page without a gallery is fine
  for (const { file, title, bytes, quality, pixels } of await response.json()) {
    const button = Object.assign(element('button', ''), { type: 'button' });
    const about = `${bytes.toLocaleString('en')} bytes · quality ${quality} · ${((8 * bytes) / pixels).toFixed(2)} bpp`;
    button.append(element('span', title), element('small', about));
    button.addEventListener('click', () => open(file, () => openUrl(new URL(file, base)), button));
    const item = document.createElement('li');
    item.append(button);
    gallery.append(item);
  }
  byId('gallery-box').hidden = !gallery.children.length;
}

input.addEventListener('change', () => {
  openFile(input.files[0]);
  input.value = ''; // so that the same file can be chosen again
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
  openFile(event.dataTransfer.files[0]);
});
fillGallery();
