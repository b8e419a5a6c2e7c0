import { createHostWork } from '@paravane/driver-api';
import { createMemoryPeer } from '@paravane/driver-api/conformance';
import { type Link, linkApiVersion, noOffloads } from '@paravane/link-api';
import { createNetBackend } from '@paravane/net-back';
import { addDevice } from '@paravane/xenbus';
import { createXenstore } from '@paravane/xenstore';

const nowhere: Link = {
  apiVersion: linkApiVersion,
  name: 'nowhere',
  mtu: 1500,
  carrier: true,
  offloads: noOffloads,
  attach: () => undefined,
  send: (frames) => frames.length,
  resume: () => undefined,
  close: () => undefined,
};
const store = createXenstore();
const paths = addDevice(store, { type: 'vif', id: 0, frontendId: 1, front: { mac: '00:16:3e:00:00:01' } });
const work = createHostWork((id) => work.deliver(id));
const backend = createNetBackend({ store, ...paths, peer: createMemoryPeer().peer, link: nowhere, work });
console.log(store.read(`${paths.back}/feature-rx-copy`)); // 1
console.log(backend.device.state); // 2: it waits for the front end
backend.close();
