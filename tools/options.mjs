// What a tool was given, as `parseArgs` tells it. `--help` prints the comment at the head of the tool; options that it
// does not have end it with that comment and status 2.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

export function readOptions(config) {
  const lines = readFileSync(process.argv[1], 'utf8').split('\n');
  const head = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith('//')),
  );
  const usage = head.map((line) => line.replace(/^\/\/ ?/, '')).join('\n');
  try {
    const given = parseArgs({ ...config, options: { ...config.options, help: { type: 'boolean', short: 'h' } } });
    if (!given.values.help) return given;
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}
