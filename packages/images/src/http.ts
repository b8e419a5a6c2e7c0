/**
 * A file on a web server, read by ranges (RFC 9110, section 14). The server is not trusted to give what was asked for:
 * the length, the range and the file's identity of every answer are checked.
 */
import {
  type Buffers,
  byteLength,
  copyInto,
  fillZero,
  type ImageFile,
  imageError,
  sliceBuffers,
} from '@paravane/image-api';

/** What is needed of an answer; that of `fetch` has it. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** `fetch`, or what does the same. */
export type HttpFetch = (
  url: string,
  init: { readonly headers: Readonly<Record<string, string>> },
) => Promise<HttpResponse>;

export interface HttpFileOptions {
  readonly url: string;
  readonly fetch: HttpFetch;
  /** Bytes of a request: 128 KiB. */
  readonly chunkSize?: number;
  /** Bytes kept in memory: 32 MiB. */
  readonly cacheBytes?: number;
  /** How often a request is made before it fails: 3. */
  readonly attempts?: number;
}

interface Place {
  readonly size: number;
  readonly tag: string | null;
}

export async function openHttpFile(options: HttpFileOptions): Promise<ImageFile> {
  const { url, fetch, chunkSize = 131072, cacheBytes = 32 * 2 ** 20, attempts = 3 } = options;
  const most = Math.max(2, Math.floor(cacheBytes / chunkSize));
  const chunks = new Map<number, Promise<Uint8Array>>();
  const place = await locate();
  let closed = false;

  return {
    readOnly: true,
    size: place.size,
    read(offset: number, into: Buffers) {
      if (closed) throw imageError('closed', 'the file is closed: open it again');
      const wanted = byteLength(into);
      const there = Math.min(Math.max(place.size - offset, 0), wanted);
      if (there < wanted) fillZero(sliceBuffers(into, there, wanted));
      return there === 0 ? undefined : readChunks(offset, there, into);
    },
    write() {
      throw readOnly();
    },
    flush: () => undefined,
    setSize() {
      throw readOnly();
    },
    close() {
      closed = true;
      chunks.clear();
    },
  };

  async function readChunks(offset: number, length: number, into: Buffers): Promise<void> {
    const first = Math.floor(offset / chunkSize);
    const last = Math.floor((offset + length - 1) / chunkSize);
    const indices = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    const pieces = await Promise.all(indices.map((index) => chunk(index)));
    for (const [at, bytes] of pieces.entries()) {
      const base = (first + at) * chunkSize;
      const begin = Math.max(offset, base);
      const end = Math.min(offset + length, base + bytes.length);
      copyInto(sliceBuffers(into, begin - offset, end - offset), bytes.subarray(begin - base, end - base));
    }
  }

  function chunk(index: number): Promise<Uint8Array> {
    let bytes = chunks.get(index);
    if (bytes === undefined) {
      const begin = index * chunkSize;
      bytes = request(begin, Math.min(begin + chunkSize, place.size));
      bytes.catch(() => chunks.delete(index));
    } else chunks.delete(index);
    // The one used last is the last to go.
    chunks.set(index, bytes);
    if (chunks.size > most) chunks.delete(chunks.keys().next().value!);
    return bytes;
  }

  async function request(begin: number, end: number): Promise<Uint8Array> {
    const response = await ask(begin, end);
    const { size, tag } = placeOf(response);
    if (size !== place.size || tag !== place.tag) {
      throw imageError('io', `${url} changed while it was in use: open it again`);
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length === end - begin) return bytes;
    throw imageError('io', `${url} sent ${bytes.length} bytes where ${end - begin} were asked for`);
  }

  async function locate(): Promise<Place> {
    return placeOf(await ask(0, 1));
  }

  async function ask(begin: number, end: number): Promise<HttpResponse> {
    let cause: unknown;
    for (let attempt = 0; attempt < attempts; attempt++) {
      try {
        const response = await fetch(url, { headers: { range: `bytes=${begin}-${end - 1}` } });
        if (response.status < 500) return response;
        cause = new Error(`status ${response.status}`);
      } catch (error) {
        cause = error;
      }
    }
    throw imageError('io', `cannot read ${url}: ${reasonOf(cause)}; check the URL and the network`, { cause });
  }

  function placeOf(response: HttpResponse): Place {
    if (response.status === 200) {
      throw imageError(
        'image-unsupported',
        `the server of ${url} gives no ranges: copy the image, or use another server`,
      );
    }
    const [, size] = /^bytes (?:[0-9]+-[0-9]+|\*)\/([0-9]+)$/.exec(response.headers.get('content-range') ?? '') ?? [];
    if ((response.status !== 206 && response.status !== 416) || size === undefined) {
      throw imageError('io', `cannot read ${url}: the server answered with status ${response.status}`);
    }
    return { size: Number(size), tag: response.headers.get('etag') ?? response.headers.get('last-modified') };
  }

  function readOnly(): Error {
    return imageError('read-only', `${url} can only be read: put an overlay over it`);
  }
}

/** A fetch that fails says why in the cause of its error. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message;
}
