/** bzip2 and lzo against what bzip2 1.0.8 and lzop 1.04 packed, and against damage. */
import { describe, expect, it } from 'vitest';
import { unpackBzip2 } from './bzip2.js';
import { unpackLzo } from './lzo.js';
import { testBzImage, testKernel } from './testing.js';
import { unpackKernel } from './unpack.js';

const bytes = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** Words, noise, runs of zeros, and repeats from far before. */
function text(): Uint8Array {
  const out: number[] = [];
  const put = (word: string): void => void out.push(...[...word].map((character) => character.charCodeAt(0)));
  for (let x = 1; out.length < 24_000; ) {
    x = (x * 1103 + 12345) & 0xffff;
    const k = x >> 4;
    const kind = k % 9;
    if (kind === 0) put('interrupt ');
    else if (kind === 1) out.push(k & 255);
    else if (kind === 2) out.push(...Array.from({ length: k % 300 }, () => 0));
    else if (kind === 3 && out.length > 18_000) {
      const from = out.length - 17_000 - (k % 900);
      out.push(...out.slice(from, from + 12));
    } else put('page table');
  }
  return Uint8Array.from(out.slice(0, 24_000));
}

const packed = {
  /** Two streams, of which the second holds 'and more'. */
  bzip2: [
    'QlpoMTFBWSZTWdOLFP8AC7L//8x6bSTeXeV32LG+/3///ySxgWRmLEIbCXDTSC2lSWSYwALTlKbSqzQ00ikyBoABoAaAAAaAAAMgAAAAAAABpk',
    'GaUVPUjQAGgDQAAAAaAZAAAGgADQ0A0YgNGaiDJgBMAATAEaYRgAAAAmTTE0GAEYAAAAARKKaj1QaAAABoAAAAAADRoDQAaAAAABpoY+Ddcb2D',
    'WcAtgQSOEIEFGNEkiEwh4IpfigDSqhoXXpRXY1kigDfUE78TtxVHSMheKoNK0VAKwECspBMpEpe0aEXLReioDVQUCBQKRIEZ3L6pWEbZeUWrpE',
    'MBXpuh0sjmLJSQEIuG0m0l2E0lAucdQUCyufvxFL4UQCQAtilAFGQVSRBAtARgD2LRRALIC8hEvH9pxeblKPZCe5KHHEvdSMGu7gxXgrsWVsjB',
    'Vhu41IHKgbSGDcprYUhxJSD6IBv+gIKBi8ABG4FsC7IZeFISKHinynAzNMCCF7d0eFShPIdhl4Wb7taJ2rgp2ELDUBQQI3PUWL96ycLkjiMEo8',
    'qogSy5DtiX0wJhX0d0JYg3hGKK4EgOdk6LAr3mKXhtSr4r8ayptuV6imka0pBh8rloBxyoqms1mioI2qxXBndhQGd6zLAqcJUuiguSPcjCPS/c',
    '9TeL5UNnF9iBymvPgWDEArB3tJ8ZMQ/oqCVgl9xKhbnlF8ypYU6SPgtfXf20DKcKShBRH5FYQ9aPosRBAIyeur/muy8YvhKp4h3H1ihwxL/XMT',
    'rtYrVa0YJ4f6mGOslo+LfZlCyDCapAhH3KD61VekBHWCogGtI7XfQxIRdAphlwsHx1QsJhQpDN3n1VBqgjhgI1PaqDdIi3IiqOGAjLAEa2emBS',
    '/pT+ULqVkIouBvZU1UULm1FQEYwo7bHpRACQCMjI1aijsf+LuSKcKEhpxYp/gEJaaDkxQVkmU1k9MSXBAAAAkYBAACYDkAAgACGIyaEMCM2Vzr',
    '4u5IpwoSB6YkuC',
  ].join(''),
  lzo9: [
    'iUxaTwANChoKEEAgoAlAAwkDAAANAAAAAGsMmkMAAAAAACm1AsoAAF3AAAADqPthF5sbcGFnZSB0YWJsZTwkAAhCaW50ZXJydXB0ICAHyAAoJQ',
    'AAIAABAQC2IH4oBTL0ByAAAlQHMgAHPBwNIHC4AiAUIgFrMCARjBAgEawEIAd1AFMyeQArIAAMHAsoLAUglMgNICUlAGAguGQbIBtUBCAz7QG1',
    'IBFUECAHdCIgB54AKj4yzQCQPyAMKNUAdjzRAdwgB5wCIBtkAyAbzCYoJQBXIBHJAMAoKQAjIPFAKCAb+Bsg/3glIFssEyB6gQSkICWGBPBYIB',
    '4oIDJxCwAgAD8BADwgL50MQCC38AwgESkEwSAACrQWIGbhF28geKwYIBFEKDx9JwQgABYoTiDuAQANIAA+7AggGYwOPJEQnCBg2wZ5gmY8iAIg',
    'ADC1G3EgABdEICDm6FYgxGgEIAAZkC4gByhRIDQkDyAR7CsgABtlemQodQRHIPlABSAvFAQg33AKIBHQYiDenCMgaRwtIBHpBscgERF/7iBPCA',
    'ggJYyCIEPMgyAMMgNeSjIIHSA1VCAgVSQVIPe8QCCiyQOZIAASLEo9VKcgOjgJMm0QCyAbZRSUIDJ5BKEgL2xsIP6YrCAlQAUgGxQ4IF5INSCS',
    '8S0rIOJcHiBJMA8yLQFZPKoBEwggL50SNDJ5ADooKQBdPEkBAyDGLAggmZhOIDb0OCAbWAEymQI4IHq0vCAcnBAgRxwBIDYgCSAbdAAghCjEIE',
    '6JHWggB9VbWiAAmBA7ICpkISARKQ3mIDn0MiBavgSYMCD22K8g58APIF4oCCCA9IsgFlgCMl0DhjJRAMggOTDWKCYAgfogUnAJKKEB6CARxQIv',
    'KCkAXCDfWCQgOAEA0CD8PAUgVHA4IHn0JDIlALIg+GkN/yiRBCwoqQg5IEuMHSDwOBQgOTx6PGUB2yBpJAYgAJWMwyAAFNjrIELAECAASnDmIG',
    'MBALs0YQhqIAAV+A0gETQdKvUArTzQACpEACCM1E4gJPAEIABsbE0gEXQZPJYKEYcgAB9oViBv0AQg6hAHMmQLKnAMIKRkGyBUjRJPKDkBUiAR',
    'ADE+VAIgObi3IAudBLMgQkAHEAM4CzzkAio8ACAJ/AQgAMEIMT4pCM4QKZQzKE0AYSADIAkQQVUtwiAJuC48qQE2IAEwDCAt/UOhILb8LDzRFe',
    'sgG+kHOSALoQQZPH0B0yAJzAIgLyiVIBMkDCAABzRsIG4gcSAdHAggH3wAIFSkCDL5Ab4gB/AYIC8VZD8gEZDCEAMwFj60VRAnRE8RAAAAAAAA',
  ].join(''),
  lzo1: [
    'iUxaTwANChoKEEAgoAlAAgEDAAANAAAAAGsMmkMAAAAAACkSAsEAAF3AAAAHbPthF5sHcGFnZSB0YWJsZTwkAAhCaW50ZXJydXB0IDygADJ1AA',
    'AgAAEBALYy2AQyTAAgViQFMvQHIFYoAiCK2AEyAAcyJAUonAAgXHADKBgCKCQAIBRCAmswKAABIBskADysBCAHdQBTMgkCKyhQACAUiAMgzNAA',
    'KKQFIIDYAyhYByAvJQBgMkABIIA8BCADgAIyYAMgB0wAIAN8ATqMADKdAbUyUAAoTAAoNAo8TAAodAAoJAAy7AAodAAoJgAqPigsACjNAJAoKA',
    'A1TAMo1QB2KCgAKNQAKE0A3CgoADIkACjIACgkADKcAChMADKcADJMACjEACAHJQBXIAegACidAMAoKQAjKCgAKCQANfQEIMZYACgcBDwkADL4',
    'BiDGiAQgBJgDPPQEIBF0ACAE0AEgi5AAKAkEpCgoACAbJgDwWChMCiAUIAQo8AEgHiABIBT0ASDV0QA8KNAFICUlAEAyGAEgo2wFMlwDPE0AwS',
    'h4AChACyhMACCjUAQgcgwDKIAFIBElAG8gEcgAMsQAIDJUBDKYAShMACh4CTIkACicACglAAQoKAAoJAAgMtwCIAC+SQENIAA+7AgodAUoJAAg',
    'BUANKLwAKCQAKGkQnChQACAFOAEgMJcAeYJmKAwCKCQAKIgCIDDEASC2QAEo7AQ8JQBxILb8AyADWAM8ZAQ8dAAgA3wBIJiMACAJuA0ykAQgmN',
    'gDNuACKDgEKLgDNqwAIOxcADLgBCgIBSgkACAg0AQoKAEoJAAo8AEyJAAonAAgESQAICC4AiCxAQFkKBUFRygoACAHJAAgsTwENEQDPDwENMwA',
    'OlQAMjwBOrwAIK9sACj8AyiIDyhMADIkACCvBAQgBDwDKCAEKJgEIATgACA6kAAyTAIoTAAyJQDHKFAAKBgDKEwAKCQAKHUA7ihQACgkACA6UQ',
    'MAKJQBPCQAKIgCPJwAIAd0ADw8ATJ0ACACFAQo8gFeSigIASgkACACCAEziAAoBAEohAEoJAAzyAAvUAAovAAyJAAvuAAg3kAAINKMBCjJA5ko',
    'KAAg3hgIIAj4AyjEBDIlAEIyUAAgCGwBPKAAMm0QCzK8ASAHTQCUPLwBIBR1AKEgB/ABIAecADLUAyAH7AAgFAQDII3QACAHKAQonAAyQAUoTA',
    'AoJAAoxAA8JAAgU7wEKUg1IFP4AT/MASjEBDI8BSmopCigAD9MASCtgAAo4AMgByQAIBf8AzJ9AVkyUAAoTgATCCgsACAHJAAyoAco7QA0MnkA',
    'Oih9AF0oKAAoJAAozQADIBfwAyCE3AAoxAMgcbgCKAwGKJQCMiQAKJwAICwMAyAbWAEymQI4KEABMngAICzsAiAkMAEylAIyTAA+sAEyzAAyTA',
    'A+HAEgGHwAPOAFIBt0ACgYAzwUASAY6AIgdOAAPNUDaCh4ACgkACh4BCglAFogdHADIA9QAiiMAygkACAPDAEgp7wAKAQEIBskACiECDIVAeYy',
    'UAAyTAA8GAEyxAAgUBgGKBECmCAmlNEgUAgDINHAASjQBigkACBBFAQorAEgByQAICxMAjLQASiADSAsqAEgFTABKIACIAxYAijYACglAIYoKA',
    'AoJQDIKCgAIDkmAIH6MmwBIBVABCAI1AAoyQHoKCgAIAclAC8ooQBcKCgAKCQAKDAGKEwAKCQAIAiMAiDdoQDQKMQEIPI8BShwBDIkACjABCCA',
    'DAky+AIgJU0AsiCA7AMgV4EC/yiBBSwoqQg5KFQAPCQAICPYAiiEASAjNAEgogwBKEAEKEQGKEwAICUkADJlAdsoaAEgXxQFIGkkAiBfJAQgiv',
    'wBKNAGKCQAMpwJIIpIAyCFqAI8uAUoCAYghTQDIAAelQK7KvgEKGEIaigoACqAACD+LAAo0AQ8JAA0iQ2tPNMAZ2UgF7AuKKQAKCgBKEwAPCQA',
    'IHcMByCV1AIgXTQFMswEIF1FAgAp8KQobAooJAAyxgIRhzJUACBfHAMgivwBKPgEIGXQAiBvPAIgWlQEKCgEKCQAmLjIYiBaaAIgC+gBKPACMi',
    'QAOyQBIBDAADs0AShxAE8oYQFSKCgA2CoQBKxKKMwAKCQAKMQAKCQAKHQAKhQTKHwAMmwBKHQAIAckACqUASosADL9ALMqgAAgLCwAKLQBJVgh',
    'EzgLKFQAMiQAKP4hIHQyfAAqgAIofAAqVAAgALUsACioBygkACqhB84oWAAoJAAoLA0oJAAydQBhKFAAKkwBLCwAKIwAPCQAMqgBLCUBwjIAAS',
    'jYACqwADKkAChNADY0qAA0VAAo2AAoqAEoTAAqzAA4LAA9NLM44AAgfmQAMkQEKG0E6ygoADwkADIYATPYWjY5BBk8fQHTKtwAMrABMvgAPJwA',
    'PHQAKDwBKuQBKFQAIBEkACocASDILAAgB5gEPDAGIEa4BDywAioQAjKkACAffAAoTAEqJAEgPiwAKNABKCUAvigwBigkACh4ADJMACh0ACAbJQ',
    'A/MvAAMrgBKEwAEAMwFihUACgcAShMACrMKShUACqkAA10ZXJydXB0IHBhZ2UgdGFiEQAAAAAAAA==',
  ].join(''),
} as const;

describe('bzip2', () => {
  it('is unpacked, stream after stream', () => {
    const unpacked = unpackBzip2(bytes(packed.bzip2), 30_000);
    expect(unpacked.subarray(0, 24_000)).toEqual(text());
    expect(String.fromCharCode(...unpacked.subarray(24_000))).toBe('and more');
  });

  it('is refused beyond a limit, and cut short', () => {
    expect(() => unpackBzip2(bytes(packed.bzip2), 23_999)).toThrow('more than 1 MB');
    expect(() => unpackBzip2(bytes(packed.bzip2).subarray(0, 500), 30_000)).toThrow('cut short');
    expect(() => unpackBzip2(new Uint8Array(20), 30_000)).toThrow('damaged');
  });
});

describe('lzo', () => {
  it.each(['lzo9', 'lzo1'] as const)('is unpacked: %s', (kind) => {
    expect(unpackLzo(bytes(packed[kind]), 24_000)).toEqual(text());
  });

  it('is refused beyond a limit, and cut short', () => {
    expect(() => unpackLzo(bytes(packed.lzo9), 23_999)).toThrow('more than 1 MB');
    expect(() => unpackLzo(bytes(packed.lzo9).subarray(0, 500), 30_000)).toThrow('cut short');
  });
});

it.each([
  ['bzip2', unpackBzip2, packed.bzip2],
  ['lzo', unpackLzo, packed.lzo1],
] as const)('%s that is damaged is an error of the kernel, or still unpacks; nothing else', (_, unpack, base64) => {
  const whole = bytes(base64);
  const codes = new Set<unknown>();
  let refused = 0;
  for (let at = 0; at < whole.length; at += 3) {
    const damaged = whole.slice();
    damaged[at]! ^= 1 << (at & 7);
    try {
      unpack(damaged, 100_000);
    } catch (error) {
      codes.add((error as { code: string }).code);
      refused++;
    }
  }
  expect([...codes]).toEqual(['kernel-invalid']);
  expect(refused).toBeGreaterThan(whole.length / 3 - 40);
});

it('a bzImage of either kind needs nothing of the host', async () => {
  const kernel = testKernel();
  // Blocks that do not get shorter are stored as they are. This file has no checksums.
  const header = bytes(packed.lzo1).slice(0, 34);
  header.set([0, 0, 0, 0], 17);
  header[33] = 0;
  const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  const { length } = kernel;
  const file = Uint8Array.from([...header, ...word(0), ...word(length), ...word(length), ...kernel, ...word(0)]);
  expect(await unpackKernel(testBzImage(file, length))).toMatchObject({ compression: 'lzo', bytes: kernel });
});
