// `pnpm test:browser [--json] [own|debian]`: in a headless Chromium, with and without isolation from other origins, boots our own
// kernel and, where it has been pulled, Debian's, types at their consoles, and ends them. Exit status 1 if anything is
// not as it must be. Processor time is that of the page's process.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromiumVersion, findChromium, openPage } from './chromium.mjs';
import { guestFolder, serveSite } from './server.mjs';
import { buildSite } from './site.mjs';

const DEADLINE_MS = 240_000;
const guests = [
  {
    which: 'own',
    prompt: 'paravane> ',
    command: 'echo "he"llo',
    answer: /\n"he"llo/,
    end: 'poweroff',
  },
  {
    which: 'debian',
    prompt: '/root # ',
    // A file that the server has as a disk: its first bytes, and what is written over them.
    disk: 'guests/debian/vmlinuz',
    command: 'head -c 2 /dev/xvda; expr 1200 + 34; echo new | dd of=/dev/xvda 2>&-; head -c 4 /dev/xvda; uname -r',
    answer: /\nMZ1234\nnew\n6\./,
    end: 'poweroff -f',
  },
];

const command = findChromium();
if (command === undefined) {
  console.error('no browser: install the Debian package chromium, or set CHROMIUM to the name of one');
  process.exit(2);
}
const site = await buildSite();
const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const rows = [];
let failed = 0;
for (const isolated of [false, true]) {
  const server = await serveSite({ site, guests: guestFolder(), isolated });
  try {
    for (const guest of guests) {
      if (words.length > 0 && !words.includes(guest.which)) continue;
      if (guest.which === 'debian' && !existsSync(join(guestFolder(), 'debian/vmlinuz'))) {
        console.error('Debian is left out: run paravane pull debian');
        continue;
      }
      for (const engine of ['jit', 'interpreter']) {
        try {
          const row = await run(server.url, guest, engine, isolated);
          rows.push(row);
          console.error(`ok: ${JSON.stringify(row)}`);
        } catch (error) {
          failed++;
          console.error(`FAILED: ${guest.which}, ${engine}, isolated: ${isolated}: ${error.stack}`);
        }
      }
    }
  } finally {
    server.close();
  }
}
if (process.argv.includes('--json')) console.log(JSON.stringify({ browser: chromiumVersion(command), rows }, null, 2));
else printTable();
process.exitCode = failed > 0 ? 1 : 0;

async function run(url, { which, prompt, disk = '', command: line, answer, end }, engine, isolated) {
  const page = await openPage(command, url);
  try {
    const until = async (what, condition) => {
      const deadline = performance.now() + DEADLINE_MS;
      for (;;) {
        const value = await condition();
        if (value) return value;
        if (performance.now() > deadline) {
          const shown = await page.evaluate(
            'paravane.consoleText() + "\\n" + document.querySelector("#status").textContent',
          );
          throw new Error(`no ${what}; the page shows last:\n${shown.slice(-1500)}`);
        }
        await sleep(100);
      }
    };
    const shows = (pattern) => async () => pattern.test(await page.evaluate('paravane.consoleText()'));
    const state = () => page.evaluate('document.querySelector("#status").dataset.state');
    await until('page', () => page.evaluate('typeof paravane === "object" && document.readyState === "complete"'));
    if ((await page.evaluate('crossOriginIsolated')) !== isolated) throw new Error(`isolated is not ${isolated}`);
    if (which === 'debian') {
      await until('Debian', () => page.evaluate('!document.querySelector("option[value=debian]").disabled'));
    }
    const before = page.use();
    await page.evaluate(`{
      const which = document.querySelector('#which');
      which.value = '${which}';
      which.dispatchEvent(new Event('change'));
      document.querySelector('#engine').value = '${engine}';
      document.querySelector('#disk').value = '${disk}';
      document.querySelector('#guest').requestSubmit();
    }`);
    await until(
      'prompt',
      async () =>
        (await page.evaluate('paravane.consoleText()')).endsWith(prompt.trimEnd()) || shows(new RegExp(`${prompt}$`))(),
    );
    const { instructions, seconds, counters } = await page.evaluate('paravane.figures()');
    const use = page.use();
    await page.evaluate('document.querySelector("#console").focus()');
    for (const key of line) await page.press(key);
    await page.press('Enter');
    await until('answer', shows(answer));
    await page.evaluate(`paravane.type(${JSON.stringify(`${end}\r`)})`);
    await until('end', async () => ['ended', 'failed'].includes(await state()));
    const status = await page.evaluate('document.querySelector("#status").textContent');
    if (!status.startsWith('ended: poweroff')) throw new Error(status);
    if (engine === 'jit' && which === 'debian' && !(counters.compiledRegions > 0))
      throw new Error('nothing was compiled');
    return {
      guest: which,
      engine,
      isolated,
      secondsToPrompt: Number(seconds.toFixed(2)),
      processorSecondsToPrompt: Number((use.seconds - before.seconds).toFixed(2)),
      instructions,
      peakMiB: Math.round(page.use().peakMiB),
    };
  } finally {
    await page.close();
  }
}

function printTable() {
  console.log(`\n${chromiumVersion(command)}\n`);
  console.log(
    '| Guest | engine | isolated | to the prompt, s | to the prompt, CPU s | million instructions | peak MiB |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const row of rows) {
    const cells = [
      row.guest,
      row.engine,
      row.isolated ? 'yes' : 'no',
      row.secondsToPrompt.toFixed(1),
      row.processorSecondsToPrompt.toFixed(1),
      (row.instructions / 1e6).toFixed(0),
      row.peakMiB,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  console.log(failed === 0 ? `\nall ${rows.length} as they must be` : `\n${failed} failed`);
}
