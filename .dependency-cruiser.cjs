// The floors of docs/architecture.md, enforced: imports go down or stay level, never up and never in a circle.
// A package that stands on no floor makes this file fail, so none can be forgotten.
const { readdirSync, existsSync } = require('node:fs');
const { join } = require('node:path');

const floors = [
  // 0 vocabulary
  ['types', 'driver-api', 'image-api', 'link-api', 'host-api', 'abi-xen', 'wasm-emit', 'elf'],
  // 1 machine
  ['mmu', 'x86', 'engine-api', 'personality-api'],
  // 2 hypervisor
  ['hypervisor', 'xen', 'domain-builder', 'decompress', 'kallsyms', 'trace'],
  // 3 devices and guests
  [
    'xenstore',
    'xenbus',
    'ring',
    'block-back',
    'images',
    'network',
    'net-back',
    'console-back',
    'pc',
    'guest-stubs',
    'guest-drivers',
  ],
  // 4 front
  ['toolstack', 'machine', 'host-node', 'host-browser', 'paravane'],
];
const hosts = ['host-node', 'host-browser'];

const standing = new Set(floors.flat());
for (const name of readdirSync(join(__dirname, 'packages'))) {
  if (existsSync(join(__dirname, 'packages', name, 'package.json')) && !standing.has(name)) {
    throw new Error(`packages/${name} stands on no floor: add it to the table in .dependency-cruiser.cjs`);
  }
}

/** Tests and what only they use may look anywhere. */
const tests = '(\\.test|\\.bench|/testing|/test-[^/]*)\\.ts$|/testing/';

const inPackages = (names) => `^packages/(${names.join('|')})/`;
const belowHosts = floors.flat().filter((name) => !hosts.includes(name));

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'Types may refer to each other; code may not.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...floors.slice(0, -1).map((names, floor) => ({
      name: `floor-${floor}-imports-nothing-above`,
      severity: 'error',
      from: { path: inPackages(names), pathNot: tests },
      to: { path: [inPackages(floors.slice(floor + 1).flat()), '^apps/'] },
    })),
    { name: 'nothing-imports-an-app', severity: 'error', from: { path: '^packages/' }, to: { path: '^apps/' } },
    {
      name: 'no-deep-imports',
      comment: 'Another package is reached by its name, never by a relative path into its folder.',
      severity: 'error',
      from: { path: '^(packages|apps)/([^/]+)/' },
      to: { path: '^(packages|apps)/[^/]+/', pathNot: '^$1/$2/', dependencyTypes: ['local'] },
    },
    {
      name: 'no-host-below-the-hosts',
      severity: 'error',
      from: { path: inPackages(belowHosts), pathNot: tests },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-outside-dependency-below-the-hosts',
      severity: 'error',
      from: { path: inPackages(belowHosts), pathNot: tests },
      to: { path: 'node_modules' },
    },
    {
      name: 'personality-and-core-do-not-meet',
      severity: 'error',
      from: { path: '^packages/(x86|mmu)/' },
      to: { path: '^packages/(xen|abi-xen)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@paravane/source', 'import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
    },
  },
};
