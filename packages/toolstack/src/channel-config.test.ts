import { describe, expect, it } from 'vitest';
import { readChannel } from './channel-config.js';
import { readDomainConfig } from './domain-config.js';

describe('channels', () => {
  it.each([
    ['connection=pty', { connection: 'pty' }],
    [
      'name=agent, connection=socket, path=/run/agent.sock',
      { name: 'agent', connection: 'socket', path: '/run/agent.sock' },
    ],
    ['backend=0,connection=pty,name=x', { name: 'x', connection: 'pty' }],
  ])('%j is read', (text, channel) => {
    expect(readChannel(text)).toEqual({ channel, errors: [] });
  });

  it.each([
    ['', 'socket or pty'],
    ['connection=tcp', 'not "tcp"'],
    ['connection=socket', 'needs path'],
    ['connection=pty,path=/x', 'no path'],
    ['connection=pty,backend=net', 'not supported'],
    ['connection=pty,speed=9600', 'unknown parameter'],
    ['pty', 'key=value'],
  ])('%j is refused', (text, why) => {
    const { channel, errors } = readChannel(text);
    expect([channel, errors.join()]).toEqual([undefined, expect.stringContaining(why)]);
  });

  it('are a list of strings in a configuration', () => {
    const base = 'name = "a"\nkernel = "k"\n';
    expect(readDomainConfig(`${base}channel = ["connection=pty"]`).config?.channels).toEqual([{ connection: 'pty' }]);
    const wrong = (line: string) => readDomainConfig(base + line).diagnostics.map(({ message }) => message)[0];
    expect(wrong('channel = "connection=pty"')).toContain('"channel" takes a list');
    expect(wrong('channel = ["x=1"]')).toContain('channel "x=1": unknown parameter');
    expect(wrong('channel = [["x"]]')).toContain('a channel is a string');
  });
});
