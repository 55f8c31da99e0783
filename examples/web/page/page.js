// The page: a model from the program or from a file, a request from the controls, tokens as they come.

import init, { Generator } from './ztt_wgpu_web.js';

const $ = (id) => document.getElementById(id);
const controls = ['prompt', 'max-tokens', 'temperature', 'exit-threshold'].map($);
const [prompt, maxTokens, temperature, exitThreshold] = controls;

let generator = null;
let facts = null;
let isGenerating = false;
let isStopped = false;

const element = (name, className, text) => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

const say = (message) => {
  $('alert').textContent = message;
  $('alert').hidden = !message;
};

// Runs what may fail; what went wrong is said in one line.
const attempt = async (what) => {
  say('');
  try {
    await what();
  } catch (e) {
    say(e instanceof WebAssembly.RuntimeError ? `the engine broke down: ${e.message}; load the page again` : e.message);
  }
};

// An exit threshold at the end of its scale: nothing exits.
const never = () => exitThreshold.value === exitThreshold.max;

const showValues = () => {
  const show = (control, text) => (document.querySelector(`output[for="${control.id}"]`).textContent = text);
  show(temperature, temperature.value === '0' ? 'greedy' : temperature.value);
  show(exitThreshold, !facts?.has_pool ? 'no zero tokens' : never() ? 'never' : exitThreshold.value);
};

const showBusy = (isBusy, action) => {
  $('generate').textContent = action;
  $('fields').disabled = isBusy || !generator;
  $('generate').disabled = !generator || (isBusy && !isGenerating);
  $('flow').ariaBusy = String(isBusy);
};

const shadeOf = (cycles) => {
  const { light, dark } = facts.shades[cycles - 1];
  return `background: light-dark(${light.back}, ${dark.back}); color: light-dark(${light.ink}, ${dark.ink})`;
};

const showLegend = (counts) => {
  const total = counts.reduce((sum, n) => sum + n, 0);
  const rows = counts.map((n, i) => {
    const row = element('li', '', '');
    const swatch = element('span', 'swatch', '');
    swatch.style.cssText = shadeOf(i + 1);
    const share = total > 0 ? `${Math.round((100 * n) / total)} %` : '';
    row.append(swatch, `${i + 1} ${i === 0 ? 'cycle' : 'cycles'}`, element('span', 'faint', share));
    return row;
  });
  $('legend').replaceChildren(...rows);
};

const showAdapter = async () => {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) return;
  const { vendor, architecture, description } = adapter.info;
  const kind = adapter.info.isFallbackAdapter ? 'software' : '';
  const known = [description || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed', kind].filter(Boolean);
  $('adapter').textContent = `${known.join(', ')}; kernels ${facts.kernels}`;
};

// Opens a file, or the model of the program where there is none. What was open stays so if that fails.
const open = async (file) => {
  showBusy(true, 'Loading…');
  try {
    const bytes = file && new Uint8Array(await file.arrayBuffer());
    const kernels = new URLSearchParams(location.search).get('kernels') ?? undefined;
    const opened = await Generator.open(file?.name ?? '', bytes, kernels);
    generator?.free();
    generator = opened;
    facts = JSON.parse(generator.facts());
    $('model').textContent = `${facts.name}, ${facts.layers} layers, ${facts.cycles} ${facts.cycles === 1 ? 'cycle' : 'cycles'}`;
    maxTokens.max = facts.positions - 1;
    temperature.value = facts.temperature;
    exitThreshold.value = facts.has_pool ? (facts.exit_threshold ?? exitThreshold.max) : exitThreshold.max;
    exitThreshold.disabled = !facts.has_pool;
    showLegend(facts.shades.map(() => 0));
    await showAdapter();
  } finally {
    showValues();
    showBusy(false, 'Generate');
  }
};

const generate = async () => {
  isGenerating = true;
  isStopped = false;
  showBusy(true, 'Stop');
  $('flow').replaceChildren(element('span', 'faint', prompt.value));
  const counts = facts.shades.map(() => 0);
  const start = performance.now();
  let first = 0;
  const receive = (text) => {
    const token = JSON.parse(text);
    counts[token.cycles - 1] += 1;
    const shown = element('span', 'token', token.text);
    shown.style.cssText = shadeOf(token.cycles);
    shown.dataset.id = token.id;
    shown.title = `token ${token.id}: ${token.cycles} of ${counts.length} cycles, scores ${token.scores.map((s) => s.toFixed(3)).join(' ') || 'none'}`;
    $('flow').append(shown);
    showLegend(counts);
    const now = performance.now();
    if (token.index === 0) {
      first = now;
      $('first').textContent = `${((now - start) / 1000).toFixed(2)} s`;
    } else {
      $('speed').textContent = ((1000 * token.index) / (now - first)).toFixed(1);
    }
    return !isStopped;
  };
  const request = {
    prompt: prompt.value,
    max_tokens: maxTokens.valueAsNumber,
    temperature: temperature.valueAsNumber,
    exit_threshold: never() ? null : exitThreshold.valueAsNumber,
    seed: crypto.getRandomValues(new Uint32Array(1))[0],
  };
  try {
    const summary = JSON.parse(await generator.generate(JSON.stringify(request), receive));
    $('cycles').textContent = summary.mean_cycles.toFixed(2);
    if (summary.n_passes > 0) $('speed').textContent = (summary.n_passes / summary.pass_seconds).toFixed(1);
  } finally {
    isGenerating = false;
    showBusy(false, 'Generate');
  }
};

$('controls').addEventListener('submit', (event) => {
  event.preventDefault();
  if (isGenerating) isStopped = true;
  else attempt(generate);
});
controls.forEach((control) => control.addEventListener('input', showValues));
$('file').addEventListener('change', (event) => {
  const [file] = event.target.files;
  event.target.value = '';
  if (file && !isGenerating) attempt(() => open(file));
});
addEventListener('dragover', (event) => {
  event.preventDefault();
  $('drop').classList.add('over');
});
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  const [file] = event.dataTransfer.files;
  if (file && !isGenerating) attempt(() => open(file));
});

attempt(async () => {
  if (!navigator.gpu) throw new Error('this browser has no WebGPU: a current Chrome, Edge, Firefox or Safari has it');
  await init();
  await open(null);
});
