/** The page: a form that says what to boot, and the console of the guest that runs. */
import { bytesOfKey } from './keys.js';
import type { Figures, FromWorker, GuestChoice, ToWorker } from './protocol.js';
import { createScreen, type Screen } from './screen.js';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const form = element<HTMLFormElement>('guest');
const which = element<HTMLSelectElement>('which');
const view = element<HTMLPreElement>('console');
const status = element<HTMLParagraphElement>('status');
const cmdline = element<HTMLInputElement>('cmdline');
const memory = element<HTMLInputElement>('memory');

/** Where whoever serves the page may have put a Debian kernel and its initramfs. */
const served = { kernel: 'guests/debian/vmlinuz', ramdisk: 'guests/debian/initramfs.cpio.gz' };
const usual: Readonly<Record<string, { cmdline: string; memory: number }>> = {
  own: { cmdline: 'console=hvc0', memory: 32 },
  debian: { cmdline: 'console=hvc0', memory: 256 },
  files: { cmdline: 'console=hvc0', memory: 256 },
};

let worker: Worker | undefined;
let screen: Screen = createScreen(send);
const asked: ((figures: Figures) => void)[] = [];

function tell(message: ToWorker, transfer: Transferable[] = []): void {
  worker?.postMessage(message, transfer);
}

function send(bytes: Uint8Array): void {
  tell({ kind: 'input', bytes });
}

function show(): void {
  const { line, column } = screen.position();
  const lines = screen.text().split('\n');
  const at = lines[line]!.padEnd(column + 1);
  const before = [...lines.slice(0, line), at.slice(0, column)].join('\n');
  const cursor = document.createElement('span');
  cursor.className = 'cursor';
  cursor.textContent = at[column]!;
  view.replaceChildren(before, cursor, [at.slice(column + 1), ...lines.slice(line + 1)].join('\n'));
  view.scrollTop = view.scrollHeight;
}

let drawing = false;
function draw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    show();
  });
}

function heard({ data }: MessageEvent<FromWorker>): void {
  if (data.kind === 'output') {
    screen.write(data.bytes);
    draw();
  } else if (data.kind === 'figures') {
    for (const resolve of asked.splice(0)) resolve(data.figures);
  } else {
    const { instructions, seconds } = data.figures;
    status.dataset.state = 'ended';
    status.textContent = `ended: ${data.how} (${(instructions / 1e6).toFixed(0)} million instructions in ${seconds.toFixed(1)} s)`;
  }
}

async function fetched(path: string): Promise<Uint8Array> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function fileOf(id: string): Promise<Uint8Array | undefined> {
  const file = element<HTMLInputElement>(id).files?.[0];
  return file === undefined ? undefined : new Uint8Array(await file.arrayBuffer());
}

async function chosen(): Promise<GuestChoice> {
  const engine = element<HTMLSelectElement>('engine').value as GuestChoice['engine'];
  const url = element<HTMLInputElement>('disk').value.trim();
  const disk = url === '' ? {} : { disk: new URL(url, location.href).href };
  const common = { name: which.value, cmdline: cmdline.value, memory: Number(memory.value), engine, ...disk };
  if (which.value === 'own') return common;
  const debian = which.value === 'debian';
  const kernel = debian ? await fetched(served.kernel) : await fileOf('kernel');
  if (kernel === undefined) throw new Error('choose a kernel: a bzImage or ELF file with Xen’s notes');
  const ramdisk = debian ? await fetched(served.ramdisk) : await fileOf('ramdisk');
  return { ...common, kernel, ...(ramdisk === undefined ? {} : { ramdisk }) };
}

async function start(): Promise<void> {
  status.dataset.state = 'starting';
  status.textContent = 'starting';
  const guest = await chosen();
  worker?.terminate();
  worker = new Worker('worker.js', { type: 'module' });
  worker.onmessage = heard;
  worker.onerror = (event) => fail(new Error(event.message));
  screen = createScreen(send);
  const buffers = [guest.kernel, guest.ramdisk].flatMap((bytes) => (bytes === undefined ? [] : [bytes.buffer]));
  tell({ kind: 'boot', guest }, buffers as ArrayBuffer[]);
  status.dataset.state = 'running';
  status.textContent = `running, ${crossOriginIsolated ? 'isolated from other origins' : 'not isolated from other origins'}`;
  view.focus();
}

function fail(error: Error): void {
  status.dataset.state = 'failed';
  status.textContent = error.message;
}

function preset(): void {
  const values = usual[which.value]!;
  cmdline.value = values.cmdline;
  memory.value = String(values.memory);
  element('files').hidden = which.value !== 'files';
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  start().catch(fail);
});
element('end').addEventListener('click', () => tell({ kind: 'end' }));
which.addEventListener('change', preset);
view.addEventListener('keydown', (event) => {
  const bytes = bytesOfKey(event);
  if (bytes === null) return;
  event.preventDefault();
  send(bytes);
});
view.addEventListener('paste', (event) => {
  event.preventDefault();
  send(new TextEncoder().encode(event.clipboardData?.getData('text').replaceAll('\n', '\r') ?? ''));
});
fetch(served.kernel, { method: 'HEAD' }).then(
  ({ ok }) => {
    which.querySelector<HTMLOptionElement>('option[value=debian]')!.disabled = !ok;
  },
  () => undefined,
);
preset();
show();

/** For scripts: figures of the guest that runs. */
Object.assign(window, {
  paravane: {
    consoleText: () => screen.text(),
    type: (text: string) => send(new TextEncoder().encode(text)),
    figures: () =>
      new Promise<Figures>((resolve) => {
        asked.push(resolve);
        tell({ kind: 'figures' });
      }),
  },
});
