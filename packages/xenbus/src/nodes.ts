/**
 * The nodes of a device as the toolstack makes them, for both ends (docs/misc/xenstore-paths.pandoc): each end may
 * write its own and read the other's.
 */
import { XenbusState } from '@paravane/abi-xen';
import type { DeviceStore } from '@paravane/driver-api';

export interface DeviceNodes {
  readonly front: string;
  readonly back: string;
}

export interface DeviceDescription {
  /** Such as `vbd`. */
  readonly type: string;
  readonly id: number;
  readonly frontendId: number;
  /** 0 if not given. */
  readonly backendId?: number;
  /** Further nodes of each end, by name. */
  readonly front?: Readonly<Record<string, string | number>>;
  readonly back?: Readonly<Record<string, string | number>>;
}

export function devicePaths({ type, id, frontendId, backendId = 0 }: DeviceDescription): DeviceNodes {
  return {
    front: `/local/domain/${frontendId}/device/${type}/${id}`,
    back: `/local/domain/${backendId}/backend/${type}/${frontendId}/${id}`,
  };
}

/** Makes a device: both ends are there, and wait for each other. */
export function addDevice(store: DeviceStore, device: DeviceDescription): DeviceNodes {
  const { frontendId, backendId = 0 } = device;
  const paths = devicePaths(device);
  const back = [`n${backendId}`, `r${frontendId}`];
  const front = [`n${frontendId}`, `r${backendId}`];
  const write = (path: string, nodes: Readonly<Record<string, string | number>>, permissions: string[]): void => {
    store.mkdir(path, permissions);
    for (const [name, value] of Object.entries(nodes)) store.write(`${path}/${name}`, String(value), permissions);
  };
  store.batch(() => {
    const types = `/local/domain/${frontendId}/device/${device.type}`;
    if (store.ls(types) === undefined) store.mkdir(types, [`n${backendId}`, `r${frontendId}`]);
    write(
      paths.back,
      {
        frontend: paths.front,
        'frontend-id': frontendId,
        online: 1,
        state: XenbusState.Initialising,
        ...device.back,
      },
      back,
    );
    write(
      paths.front,
      { backend: paths.back, 'backend-id': backendId, state: XenbusState.Initialising, ...device.front },
      front,
    );
  });
  return paths;
}

/** Asks both ends to part for good; the nodes are to be removed when the back end says that it is closed. */
export function removeDevice(store: DeviceStore, { back }: DeviceNodes): void {
  store.batch(() => {
    store.write(`${back}/online`, '0');
    store.write(`${back}/state`, String(XenbusState.Closing));
  });
}
