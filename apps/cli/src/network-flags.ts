/** The flags of guests' networks. */
import { fileName } from './machine-flags.js';

export const networkFlags = {
  vif: {
    kind: 'parsed',
    parse: String,
    variadic: true,
    optional: true,
    placeholder: 'SPEC',
    brief: 'A further network interface, as xl writes it: mac=00:16:3e:01:02:03, or "" for one with every default',
  },
  publish: {
    kind: 'parsed',
    parse: String,
    variadic: true,
    optional: true,
    placeholder: '[IP:]HOST:[IP:]GUEST',
    brief: "Make a port of the host lead to a guest's, as in 2222:22, 5353:53/udp or 2223:10.0.2.16:22",
  },
  noHostAccess: {
    kind: 'boolean',
    optional: true,
    withNegated: false,
    brief: "Keep guests from the host's own services, which are at 10.0.2.2 otherwise",
  },
  tap: {
    kind: 'parsed',
    parse: String,
    optional: true,
    placeholder: 'DEVICE',
    brief: "Lead the guests' network to this TAP device of the host (Linux), in place of the user-mode network",
  },
  capture: {
    kind: 'parsed',
    parse: fileName,
    optional: true,
    placeholder: 'FILE',
    brief: 'Write what passes at the interfaces to a pcapng file, for Wireshark',
  },
} as const;
