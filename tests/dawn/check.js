// Compiles every shader with Dawn: `node check.js FOLDER`.
//
// FOLDER is what `portability::write_shaders` of the test suite wrote. Dawn's compiler is no part
// of wgpu and stricter in places: it refuses barriers and exchanges within subgroups that it
// cannot prove to be reached by all lanes. Its null backend, which has every feature but no driver,
// makes a pipeline of every set of constants; the adapter, where there is one, of two sets.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from 'webgpu';

// Needs of a shader by WebGPU's name, and the line that WGSL asks for where naga does not know it.
const FEATURES = {
  f16: { name: 'shader-f16', enable: '' },
  subgroups: { name: 'subgroups', enable: 'enable subgroups;\n' },
};

// A device of an instance's best adapter, with the sets of constants to try on it; null without.
async function open(instance, chooseSets) {
  const adapter = await instance.requestAdapter();
  if (!adapter) return null;
  const names = Object.values(FEATURES).map((feature) => feature.name);
  const requiredFeatures = names.filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredFeatures });
  return { device, name: adapter.info.description || adapter.info.device, chooseSets };
}

// The first complaint about a shader, or null.
async function complaint(device, code, sets) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code });
  const invalid = await device.popErrorScope();
  if (invalid) return invalid.message;
  for (const constants of sets) {
    device.pushErrorScope('validation');
    const compute = { module, entryPoint: 'main', constants };
    device.createComputePipeline({ layout: 'auto', compute });
    const refused = await device.popErrorScope();
    if (refused) return `with ${JSON.stringify(constants)}: ${refused.message}`;
  }
  return null;
}

const folder = process.argv[2];
if (!folder) {
  console.error('usage: node check.js FOLDER');
  process.exit(2);
}
// An instance must outlive its devices.
const instances = [create(['backend=null']), create([])];
const targets = [
  await open(instances[0], (sets) => sets),
  await open(instances[1], (sets) => [...new Set([sets[0], sets.at(-1)])]),
].filter((target) => target);

let nFailed = 0;
const nPipelines = targets.map(() => 0);
for (const shader of JSON.parse(readFileSync(join(folder, 'shaders.json'), 'utf8'))) {
  const unknown = shader.needs.filter((need) => !FEATURES[need]);
  if (unknown.length > 0) {
    console.log(`${shader.name}: skipped, WebGPU has no ${unknown}`);
    continue;
  }
  const needs = shader.needs.map((need) => FEATURES[need]);
  const text = readFileSync(join(folder, `${shader.name}.wgsl`), 'utf8');
  const code = needs.map((need) => need.enable).join('') + text;
  for (const [i, { device, name, chooseSets }] of targets.entries()) {
    if (!needs.every((need) => device.features.has(need.name))) {
      console.log(`${shader.name}: skipped on ${name}, which lacks ${shader.needs}`);
      continue;
    }
    const sets = chooseSets(shader.constants);
    const message = await complaint(device, code, sets);
    nPipelines[i] += sets.length;
    if (message) {
      nFailed += 1;
      console.log(`${shader.name}: failed on ${name}\n${message}`);
      break;
    }
  }
}
targets.forEach(({ name }, i) => console.log(`${nPipelines[i]} pipelines on ${name}`));
console.log(`${nFailed} shaders failed`);
process.exit(nFailed > 0 ? 1 : 0);
