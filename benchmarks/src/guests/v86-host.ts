/** v86 with its serial line on standard input and output: `node v86-host.js BIOS VGA-BIOS KERNEL INITRAMFS MIB CMDLINE`. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';

const [bios, vgaBios, kernel, initramfs, memory, cmdline] = process.argv.slice(2);
const image = (file: string | undefined): { buffer: ArrayBuffer } => {
  const bytes = readFileSync(file!);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer };
};
const emulator = new V86({
  wasm_path: fileURLToPath(import.meta.resolve('v86').replace(/[^/]*$/, 'v86.wasm')),
  memory_size: Number(memory) << 20,
  vga_memory_size: 2 << 20,
  bios: image(bios),
  vga_bios: image(vgaBios),
  bzimage: image(kernel),
  initrd: image(initramfs),
  cmdline: cmdline!,
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
});
emulator.add_listener('serial0-output-byte', (byte: number) => {
  process.stdout.write(String.fromCharCode(byte), 'latin1');
});
process.stdin.on('data', (bytes) => emulator.serial0_send(bytes.toString('latin1')));
process.stdin.on('end', () => process.exit(0));
