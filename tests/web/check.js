// Runs the page of examples/web in Chromium, on SwiftShader, and compares its tokens with those of
// the program: `node check.js PROGRAM` once the page is built. CHROMIUM names another browser.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import puppeteer from 'puppeteer-core';

const PAGE = new URL('../../examples/web/dist', import.meta.url).pathname;
const MODEL = new URL('../../src/model/builtin/ztt-classics.safetensors', import.meta.url).pathname;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
const SWIFTSHADER = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
const PROMPT = 'Call me';
const N_TOKENS = 64;

const program = process.argv[2];
if (!program) {
  console.error('usage: node check.js PROGRAM');
  process.exit(2);
}

const server = createServer((request, response) => {
  const path = request.url.replace(/\?.*/, '').replace(/\/$/, '/index.html');
  response.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream');
  response.end(readFileSync(PAGE + path));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const address = `http://127.0.0.1:${server.address().port}/`;

// What `use` makes of the page in a browser of its own, which shows it with these arguments.
const visit = async (browserArguments, query, use, before = () => {}) => {
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', ...browserArguments],
  });
  try {
    const page = await browser.newPage();
    await page.evaluateOnNewDocument(before);
    await page.goto(address + query);
    await settled(page);
    return await use(page);
  } finally {
    await browser.close();
  }
};

// Resolves once the page has loaded, generated or failed.
const settled = (page) => page.waitForSelector('#flow[aria-busy=false]', { timeout: 120_000 });

const alert = (page) => page.$eval('#alert', (line) => (line.hidden ? null : line.textContent));

// Ids and cycles of the first `n` greedy tokens at this exit threshold.
const generate = async (page, threshold, n = N_TOKENS) => {
  const values = { prompt: PROMPT, 'max-tokens': n, temperature: 0, 'exit-threshold': threshold };
  await page.evaluate((values) => {
    for (const [id, value] of Object.entries(values)) document.getElementById(id).value = value;
  }, values);
  await page.click('#generate');
  await settled(page);
  assert.equal(await alert(page), null);
  return page.$$eval('#flow .token', (tokens) => tokens.map(({ dataset }) => [+dataset.id, +dataset.cycles]));
};

// The same by the program.
const expected = (...exit) => {
  const flags = ['--temperature', '0', '--kv-type', 'f32', '-n', N_TOKENS, '--json', ...exit];
  const lines = execFileSync(program, ['run', 'builtin', PROMPT, ...flags], { stdio: ['ignore', 'pipe', 'ignore'] });
  const tokens = lines.toString().trim().split('\n').map((line) => JSON.parse(line));
  return tokens.slice(0, -1).map(({ id, cycles }) => [id, cycles]);
};

const dropText = (page, name, text) =>
  page.evaluate(
    (name, text) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([text], name));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    },
    name,
    text,
  );

const withExits = expected('--exit-threshold', '0.4');
const atFullDepth = expected('--no-exit');
assert.equal(withExits.length, N_TOKENS);
assert.notDeepEqual(withExits, atFullDepth, 'the two cases must differ, or they show nothing');

const tests = {
  'its own kernels': () =>
    visit(SWIFTSHADER, '', async (page) => {
      assert.deepEqual(await generate(page, 0.4), withExits);
      assert.deepEqual(await generate(page, 1), atFullDepth);
    }),
  'the kernels of GPUs': () =>
    visit(SWIFTSHADER, '?kernels=workgroup', async (page) => {
      assert.match(await page.$eval('#adapter', (e) => e.textContent), /kernels workgroup$/);
      // SwiftShader takes long for what waits at barriers.
      assert.deepEqual(await generate(page, 0.4, 8), withExits.slice(0, 8));
    }),
  'a model from a file': () =>
    visit(SWIFTSHADER, '', async (page) => {
      await (await page.$('#file')).uploadFile(MODEL);
      await page.waitForFunction(() => document.getElementById('model').textContent.startsWith('ztt-classics'));
      await settled(page);
      assert.deepEqual(await generate(page, 0.4), withExits);
    }),
  'a broken file': () =>
    visit(SWIFTSHADER, '', async (page) => {
      await dropText(page, 'notes.txt', 'Not weights at all.');
      await page.waitForSelector('#alert:not([hidden])');
      assert.match(await alert(page), /^`notes\.txt`: expected a safetensors header .*, found [^\n]*$/);
      assert.deepEqual(await generate(page, 0.4), withExits);
    }),
  'no adapter': () =>
    visit(['--disable-gpu', '--disable-software-rasterizer'], '', async (page) => {
      assert.equal(await alert(page), 'this browser has WebGPU, but no adapter for it');
    }),
  'no WebGPU': () =>
    visit(
      SWIFTSHADER,
      '',
      async (page) => assert.match(await alert(page), /^this browser has no WebGPU: [^\n]*$/),
      () => delete Navigator.prototype.gpu,
    ),
};

let nFailed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`${name}: ok`);
  } catch (e) {
    nFailed += 1;
    console.log(`${name}: failed\n${e.message}`);
  }
}
server.close();
console.log(`${nFailed} of ${Object.keys(tests).length} failed`);
process.exit(nFailed > 0 ? 1 : 0);
