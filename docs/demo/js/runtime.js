// onnxruntime-web, one thread of WebAssembly, from the site itself or a CDN; the browser checks what it fetches.

import { WeightsError } from './errors.js';
import { fetchBytes } from './exported.js';

const [SCRIPT, BINARY] = ['ort.wasm.bundle.min.mjs', 'ort-wasm-simd-threaded.wasm'];

/** An async function from the bytes of an ONNX model to an async function on `{data, dims}` by name. */
export async function loadRuntime(site, say = () => {}) {
  const about = JSON.parse(new TextDecoder().decode(await fetchBytes(new URL('runtime.json', site), '')));
  const get = (name) => fetchBytes(new URL(about.base + name, site), about.files[name]);
  say(`Fetching onnxruntime-web ${about.version}, ${(about.bytes / 1e6).toFixed(0)} MB`);
  const [script, binary] = await Promise.all([get(SCRIPT), get(BINARY)]);
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  let ort;
  try {
    ort = await import(url);
  } catch (error) {
    throw new WeightsError(`onnxruntime-web cannot be started: ${error.message}`);
  }
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = binary;
  ort.env.logLevel = 'error';
  return (model) => session(ort, model);
}

async function session(ort, model) {
  let made;
  try {
    made = await ort.InferenceSession.create(model, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
  } catch (error) {
    throw new WeightsError(`a graph cannot be loaded: ${error.message}`);
  }
  return async (inputs) => {
    const feeds = Object.entries(inputs).map(([name, { data, dims }]) => [name, new ort.Tensor('float32', data, dims)]);
    return made.run(Object.fromEntries(feeds));
  };
}
