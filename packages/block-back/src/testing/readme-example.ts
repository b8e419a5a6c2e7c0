import { createBlockBackend } from '@paravane/block-back';
import { createHostWork } from '@paravane/driver-api';
import { createMemoryPeer } from '@paravane/driver-api/conformance';
import { createMemoryImage } from '@paravane/images';
import { addDevice } from '@paravane/xenbus';
import { createXenstore } from '@paravane/xenstore';

const store = createXenstore();
const paths = addDevice(store, { type: 'vbd', id: 51712, frontendId: 1 });
const work = createHostWork((id) => work.deliver(id));
const backend = createBlockBackend({
  store,
  ...paths,
  peer: createMemoryPeer().peer,
  image: createMemoryImage({ size: 1 << 20 }),
  work,
});
console.log(store.read(`${paths.back}/sectors`)); // 2048
console.log(backend.device.state); // 2: it waits for the front end
backend.close();
