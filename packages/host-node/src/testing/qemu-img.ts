/** QEMU's own tools for images (package qemu-utils), which tests hold ours against. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';

function run(command: string, args: readonly string[]): { status: number | null; output: string } {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  return { status: error === undefined ? status : -1, output: `${stdout ?? ''}${stderr ?? ''}` };
}

/** Installs the tools where they are missing and may be installed; fails with the remedy where not. */
export function needQemuTools(): void {
  if (run('qemu-img', ['--version']).status === 0) return;
  if (process.getuid?.() === 0) {
    run('apt-get', ['update', '-q']);
    run('apt-get', ['install', '-qy', '--no-install-recommends', 'qemu-utils']);
  }
  if (run('qemu-img', ['--version']).status !== 0) {
    throw new Error('these tests compare with qemu-img: install the package qemu-utils');
  }
}

/** Runs qemu-img; fails with what it says, unless its status is one of `expected`. */
export function qemuImg(args: readonly string[], expected: readonly number[] = [0]): string {
  const { status, output } = run('qemu-img', args);
  if (status === null || !expected.includes(status)) {
    throw new Error(`qemu-img ${args.join(' ')} ended with status ${status}: ${output}`);
  }
  return output;
}

/** Carries out commands of qemu-io on an image, discards among them. */
export function qemuIo(image: string, commands: readonly string[]): void {
  const { status, output } = run('qemu-io', ['-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), image]);
  if (status !== 0 || /error|failed/i.test(output)) throw new Error(`qemu-io on ${image} says: ${output}`);
}

/** All bytes of the disk, as QEMU reads it. */
export function qemuContent(image: string, options: readonly string[] = []): Uint8Array {
  const raw = `${image}.as-qemu-reads-it`;
  try {
    qemuImg(['convert', ...options, '-O', 'raw', image, raw]);
    return readFileSync(raw);
  } finally {
    rmSync(raw, { force: true });
  }
}
