// The page: a model from the program or from a file, a request from the controls, tokens as they come.

import init, { Generator } from './ztt_wgpu_web.js';

const $ = (id) => document.getElementById(id);
const controls = ['prompt', 'max-tokens', 'temperature', 'exit-threshold'].map($);
const [prompt, maxTokens, temperature, exitThreshold] = controls;

// The model, and what `Generator.facts` says of it.
let generator = null;
let facts = null;
// The state of the page: nothing, 'loading' or 'generating'.
let underWay = null;
let isStopped = false;

const element = (name, className, text) => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

const counted = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;

// At the end of its scale the threshold is out of reach: nothing exits.
const neverExits = () => exitThreshold.value === exitThreshold.max;

const showValues = () => {
  const show = (control, text) => (document.querySelector(`output[for="${control.id}"]`).textContent = text);
  show(temperature, temperature.value === '0' ? 'greedy' : temperature.value);
  show(exitThreshold, !facts?.has_scores ? 'no scores' : neverExits() ? 'never' : exitThreshold.value);
};

const showState = () => {
  $('generate').textContent = { loading: 'Loading…', generating: 'Stop' }[underWay] ?? 'Generate';
  $('generate').disabled = !generator || underWay === 'loading';
  $('fields').disabled = !generator || underWay !== null;
  $('flow').ariaBusy = String(underWay !== null);
};

// Does one thing at a time. An error is said in one line.
const run = async (state, what) => {
  if (underWay) return;
  underWay = state;
  $('alert').hidden = true;
  showState();
  try {
    await what();
  } catch (e) {
    const isPanic = e instanceof WebAssembly.RuntimeError;
    $('alert').textContent = isPanic ? `the engine broke down, load the page again: ${e.message}` : e.message;
    $('alert').hidden = false;
  }
  underWay = null;
  showState();
};

const shade = (element, cycles) => {
  const { light, dark } = facts.shades[cycles - 1];
  element.style.background = `light-dark(${light.back}, ${dark.back})`;
  element.style.color = `light-dark(${light.ink}, ${dark.ink})`;
};

// The colours, and which share of `counts`, of tokens by cycles, has each.
const showLegend = (counts) => {
  const total = counts.reduce((sum, n) => sum + n, 0);
  const rows = counts.map((n, i) => {
    const row = element('li', '', '');
    const swatch = element('span', 'swatch', '');
    shade(swatch, i + 1);
    const share = total > 0 ? `${Math.round((100 * n) / total)} %` : '';
    row.append(swatch, counted(i + 1, 'cycle'), element('span', 'faint', share));
    return row;
  });
  $('legend').replaceChildren(...rows);
};

const showToken = ({ id, text, cycles, scores }) => {
  const shown = element('span', 'token', text);
  shade(shown, cycles);
  Object.assign(shown.dataset, { id, cycles });
  const figures = scores.length > 0 ? `, scores ${scores.map((s) => s.toFixed(3)).join(' ')}` : '';
  shown.title = `token ${id}, ${counted(cycles, 'cycle')}${figures}`;
  $('flow').append(shown);
};

// wgpu does not hand on all that the browser says of the adapter.
const showAdapter = async () => {
  const { info } = await navigator.gpu.requestAdapter();
  const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'unnamed';
  const kind = info.isFallbackAdapter ? ', software' : '';
  $('adapter').textContent = `Adapter: ${name}${kind}; kernels ${facts.kernels}`;
};

// Opens a file, or the model of the program where there is none. The model before stays if that fails.
const open = async (file) => {
  const bytes = file && new Uint8Array(await file.arrayBuffer());
  const kernels = new URLSearchParams(location.search).get('kernels') ?? undefined;
  const opened = await Generator.open(file?.name ?? '', bytes, kernels);
  generator?.free();
  generator = opened;
  facts = JSON.parse(generator.facts());
  $('model').textContent = `${facts.name}, ${counted(facts.layers, 'layer')}, ${counted(facts.cycles, 'cycle')}`;
  maxTokens.max = facts.positions;
  temperature.value = facts.temperature;
  exitThreshold.value = facts.exit_threshold ?? exitThreshold.max;
  exitThreshold.disabled = !facts.has_scores;
  showValues();
  showLegend(facts.shades.map(() => 0));
  await showAdapter();
};

const generate = async () => {
  isStopped = false;
  $('flow').replaceChildren(element('span', 'faint', prompt.value));
  $('flow').scrollIntoView({ block: 'nearest' });
  const counts = facts.shades.map(() => 0);
  const start = performance.now();
  let first = start;
  const receive = (text) => {
    const token = JSON.parse(text);
    showToken(token);
    counts[token.cycles - 1] += 1;
    showLegend(counts);
    const now = performance.now();
    if (token.index === 0) first = now;
    else $('speed').textContent = ((1000 * token.index) / (now - first)).toFixed(1);
    $('first').textContent = `${((first - start) / 1000).toFixed(2)} s`;
    return !isStopped;
  };
  const request = {
    prompt: prompt.value,
    max_tokens: maxTokens.valueAsNumber,
    temperature: temperature.valueAsNumber,
    exit_threshold: neverExits() ? null : exitThreshold.valueAsNumber,
    seed: crypto.getRandomValues(new Uint32Array(1))[0],
  };
  const meanCycles = await generator.generate(JSON.stringify(request), receive);
  $('cycles').textContent = meanCycles.toFixed(2);
};

$('controls').addEventListener('submit', (event) => {
  event.preventDefault();
  isStopped = true;
  run('generating', generate);
});
controls.forEach((control) => control.addEventListener('input', showValues));

const load = ([file]) => file && run('loading', () => open(file));
$('file').addEventListener('change', ({ target }) => {
  load(target.files);
  target.value = '';
});
addEventListener('dragover', (event) => {
  event.preventDefault();
  $('drop').classList.add('over');
});
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  load(event.dataTransfer.files);
});

run('loading', async () => {
  if (!navigator.gpu) {
    throw new Error('this browser has no WebGPU: current ones have it, for pages from https or localhost');
  }
  await init();
  await open(null);
});
