import { addDevice, createBackendDevice, createFrontendDevice } from '@paravane/xenbus';
import { createXenstore } from '@paravane/xenstore';

const store = createXenstore();
const paths = addDevice(store, { type: 'vecho', id: 0, frontendId: 1 });
const back = createBackendDevice({
  store,
  ...paths,
  offer: () => ({ 'feature-loud': 1 }),
  driver: {
    connect: (read) => (read('greeting') === 'hello' ? undefined : 'the front end did not greet'),
    disconnect: () => {},
  },
});
const front = createFrontendDevice({
  store,
  ...paths,
  driver: { setUp: () => ({ greeting: 'hello' }), connected: () => {}, closing: () => {} },
});
console.log(back.state, front.state); // 4 4: both are Connected
