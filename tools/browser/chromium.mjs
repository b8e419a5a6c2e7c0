// A headless Chromium, driven over its debugging pipe (Chrome DevTools Protocol: JSON messages that end with a zero
// byte, in on descriptor 3 and out on 4), so that no driver needs to be installed.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'];

/** The first browser that is installed, or $CHROMIUM; undefined where none is. */
export function findChromium() {
  const chosen = process.env.CHROMIUM ? [process.env.CHROMIUM] : names;
  return chosen.find((name) => spawnSync(name, ['--version']).status === 0);
}

export const chromiumVersion = (command) => spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout.trim();

/** Opens a page at `url`. */
export async function openPage(command, url) {
  const profile = mkdtempSync(join(tmpdir(), 'paravane-browser-'));
  const options = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-pipe'];
  // A group of its own, so that its end is the end of all its processes.
  const child = spawn(command, [...options, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    detached: true,
  });
  let said = '';
  child.stderr.on('data', (bytes) => {
    said = (said + bytes).slice(-4000);
  });
  const waiting = new Map();
  const ended = new Promise((resolve) => {
    child.on('close', () => {
      for (const { reject } of waiting.values()) reject(new Error(`the browser has ended\n${said}`));
      resolve();
    });
  });
  child.on('error', (error) => {
    said += error.message;
  });
  const [input, output] = [child.stdio[3], child.stdio[4]];
  input.on('error', () => undefined);
  let rest = Buffer.alloc(0);
  output.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
      const message = JSON.parse(rest.subarray(0, end).toString());
      rest = rest.subarray(end + 1);
      const call = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) call?.reject(new Error(message.error.message));
      else call?.resolve(message.result);
    }
  });
  let lastId = 0;
  const call = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      waiting.set(id, { resolve, reject });
      input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  const { targetInfos } = await call('Target.getTargets');
  const { targetId } = targetInfos.find(({ type }) => type === 'page');
  const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true });
  await call('Page.enable', {}, sessionId);
  await call('Page.navigate', { url }, sessionId);
  return {
    /** The value of an expression in the page; promises are waited for. */
    async evaluate(expression) {
      const params = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await call('Runtime.evaluate', params, sessionId);
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
    /** Presses and releases a key, in the element that has the focus. */
    async press(key) {
      const text = key.length === 1 ? { text: key } : {};
      await call('Input.dispatchKeyEvent', { type: 'keyDown', key, ...text }, sessionId);
      await call('Input.dispatchKeyEvent', { type: 'keyUp', key }, sessionId);
    },
    /** Processor seconds and peak MiB of the process that runs the page and its workers. Linux. */
    use: () => useOf(child.pid),
    async close() {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Of the busiest renderer in the browser's process group. */
function useOf(group) {
  let busiest = { seconds: 0, peakMiB: 0 };
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
      if (Number(fields[2]) !== group) continue;
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer')) continue;
      const seconds = (Number(fields[11]) + Number(fields[12])) / 100;
      const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
      if (seconds > busiest.seconds) busiest = { seconds, peakMiB: Number(peak?.[1] ?? 0) / 1024 };
    } catch (error) {
      // It has ended since the folder was listed.
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
    }
  }
  return busiest;
}
