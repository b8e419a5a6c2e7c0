/**
 * Channels, as xl.cfg(5) has them: further consoles of a guest, each of which ends at the host in a Unix socket or in a
 * pseudo-terminal. `key=value` pairs separated by commas.
 */
export interface ChannelConfig {
  /** What the guest may know it by. */
  readonly name?: string;
  readonly connection: 'socket' | 'pty';
  /** Of the socket. */
  readonly path?: string;
}

export interface ReadChannel {
  /** Absent where there are errors. */
  readonly channel?: ChannelConfig;
  readonly errors: readonly string[];
}

export function readChannel(text: string): ReadChannel {
  const errors: string[] = [];
  const found = new Map<string, string>();
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const [, key, value] = /^([a-z]+)\s*=\s*(.*)$/.exec(part) ?? [];
    if (key === undefined || value === undefined) {
      if (part !== '') errors.push(`"${part}" is no parameter: write key=value, such as connection=pty`);
    } else if (key === 'backend') {
      if (value !== '0' && value !== 'Domain-0')
        errors.push(`back ends in other domains ("${value}") are not supported`);
    } else if (key === 'name' || key === 'connection' || key === 'path') found.set(key, value);
    else errors.push(`unknown parameter "${key}": parameters are name, connection, path, backend`);
  }
  const [name, connection, path] = ['name', 'connection', 'path'].map((key) => found.get(key));
  if (connection !== 'socket' && connection !== 'pty') {
    errors.push(`connection is socket or pty${connection === undefined ? '' : `, not "${connection}"`}`);
  } else if ((connection === 'socket') !== (path !== undefined && path !== '')) {
    errors.push(connection === 'socket' ? 'a socket needs path=FILE' : 'a pty has no path');
  } else if (errors.length === 0) {
    return { channel: { connection, ...(name && { name }), ...(path && { path }) }, errors };
  }
  return { errors };
}
