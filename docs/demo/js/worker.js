// Decodes off the page's thread: gets `{id, bytes}`, answers `{id, progress}`, then `{id, done}` or `{id, failed}`.

import { readStream } from './container.js';
import { Decoder } from './decoder.js';
import { MismatchError } from './errors.js';
import { Models } from './exported.js';
import { encodePng } from './png.js';
import { loadRuntime } from './runtime.js';

const SITE = new URL('../', import.meta.url);
let current = null; // the number of the job in work
let runtime = null;
const say = (progress) => postMessage({ id: current, progress });
const models = new Models(new URL('models/', SITE), (model) => session(model), say);
const decoders = new Map();

async function session(model) {
  runtime ??= loadRuntime(SITE, say);
  try {
    return (await runtime)(model);
  } catch (error) {
    runtime = null; // the next file tries again
    throw error;
  }
}

/** The decoder of the site that this stream needs, and what the list says of it. Throws MismatchError. */
async function decoderFor(header) {
  const all = await models.list();
  const named = (codec, weights) => `codec ${codec} with weights ${weights}`;
  const own = named(header.codec, header.codecFingerprint);
  const names = all.map((model) => named(model.codec, model.codec_fingerprint));
  const same = all.filter((_, i) => names[i] === own);
  if (!same.length) {
    throw new MismatchError(`the stream was made by ${own}; this page has ${[...new Set(names)].join(', ')}`);
  }
  const wanted = header.adapterFingerprint;
  const fitting = wanted ? same.filter((model) => model.adapter_fingerprint === wanted) : same;
  if (!fitting.length) {
    const here = same.map((model) => model.name).join(', ');
    throw new MismatchError(`the stream needs adapter ${wanted}, which is none of those here: ${here}`);
  }
  const about = fitting.find(({ name }) => decoders.has(name)) ?? fitting[0];
  if (!decoders.has(about.name)) decoders.set(about.name, new Decoder(await models.open(about)));
  return { decoder: decoders.get(about.name), about };
}

async function decode(bytes) {
  const { header } = readStream(bytes); // damage is told before anything is fetched
  say('Looking for its decoder');
  const { decoder, about } = await decoderFor(header);
  say('Decoding');
  const start = performance.now();
  const { pixels } = await decoder.decode(bytes);
  const seconds = (performance.now() - start) / 1e3;
  const png = await encodePng(pixels, header.width, header.height);
  const adapter = header.adapterFingerprint ? { name: about.name, about: about.about } : null;
  return { header, seconds, png, adapter, size: bytes.length };
}

let last = Promise.resolve();

onmessage = ({ data: { id, bytes } }) => {
  last = last.then(async () => {
    current = id;
    try {
      const done = await decode(bytes);
      postMessage({ id, done }, [done.png.buffer]);
    } catch (error) {
      // An error that is none of ours may have broken the runtime, such as one of memory.
      const { title, message } = error;
      postMessage({ id, failed: { title: title ?? 'Not decoded', message: message ?? `${error}`, fatal: !title } });
    }
  });
};
