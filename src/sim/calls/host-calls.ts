import { REMOTE_ERROR } from '../../libvirt/wire/libvirt-error.ts';
import { FEATURE } from '../../libvirt/wire/procedures.ts';
import { DaemonError, ERROR_DOMAIN } from '../description/daemon-error.ts';
import { escapeText } from '../hypervisor/domain-xml.ts';
import type { Handlers } from './call.ts';
import { libvirtVersionNumber } from './procedures.ts';

/** virDrvFeature, beyond what a client asks (src/libvirt_internal.h). */
const TYPED_PARAM_STRING = 9;
const REMOTE_CLOSE_CALLBACK = 15;
const DBUS_SERVICE = 89;
const POLKIT_TYPE = 2;

const CALLBACK_EVENTS_SINCE = libvirtVersionNumber('1.2.1');
const KEEPALIVE_SINCE = libvirtVersionNumber('0.9.8');

/** Connection and host: who answers, and what the machine is. */
export const hostCalls = {
  authList: (_, { authTypes }) => ({ types: authTypes.length === 0 ? [0] : authTypes }),

  authPolkit(_, { authTypes, polkit, session }) {
    if (!authTypes.includes(POLKIT_TYPE)) throw authenticationFailed();
    if (polkit === 'refused') throw authenticationFailed('access denied by policy');
    if (polkit === 'unavailable') {
      const reason = 'The name org.freedesktop.PolicyKit1 was not provided by any .service files';
      throw new DaemonError(DBUS_SERVICE, ERROR_DOMAIN.polkit, `error from service: ${reason}`);
    }
    session.authenticate();
    return { complete: 1 };
  },

  connectOpen({ name, flags }, { session }) {
    session.open(name, (flags & 1) !== 0);
    return undefined;
  },
  connectClose: () => undefined,
  connectRegisterCloseCallback: () => undefined,
  connectUnregisterCloseCallback: () => undefined,

  connectSupportsFeature({ feature }, { hypervisor, session }) {
    const version = libvirtVersionNumber(hypervisor.host.libvirtVersion);
    switch (feature) {
      case FEATURE.programKeepalive:
        if (version < KEEPALIVE_SINCE) return { supported: 0 };
        // A client that asks is one that answers pings.
        session.startKeepalive();
        return { supported: 1 };
      case FEATURE.remoteEventCallback:
      case REMOTE_CLOSE_CALLBACK:
        return { supported: version >= CALLBACK_EVENTS_SINCE ? 1 : 0 };
      case TYPED_PARAM_STRING:
        return { supported: 1 };
      default:
        return { supported: 0 };
    }
  },

  connectGetType: (_, { hypervisor }) => ({ type: hypervisor.host.driver }),
  connectGetVersion: (_, { hypervisor }) => ({ version: libvirtVersionNumber(hypervisor.host.hypervisorVersion) }),
  connectGetLibVersion: (_, { hypervisor }) => ({ version: libvirtVersionNumber(hypervisor.host.libvirtVersion) }),
  connectGetHostname: (_, { hypervisor }) => ({ hostname: hypervisor.host.hostname }),
  connectGetUri: (_, { session }) => ({ uri: session.uri }),
  connectIsSecure: () => ({ secure: 1 }),
  connectGetMaxVcpus: () => ({ maxVcpus: 255 }),

  connectGetCapabilities(_, { hypervisor }) {
    const { host } = hypervisor;
    const arch = escapeText(host.cpuModel);
    return {
      xml: `<capabilities>
  <host>
    <cpu>
      <arch>${arch}</arch>
      <topology sockets='1' dies='1' cores='${host.cpus}' threads='1'/>
    </cpu>
    <topology>
      <cells num='1'>
        <cell id='0'>
          <memory unit='KiB'>${host.memoryKiB}</memory>
          <cpus num='${host.cpus}'>
${Array.from({ length: host.cpus }, (_, cpu) => `            <cpu id='${cpu}' socket_id='0' die_id='0' core_id='${cpu}' siblings='${cpu}'/>\n`).join('')}          </cpus>
        </cell>
      </cells>
    </topology>
  </host>
  <guest>
    <os_type>hvm</os_type>
    <arch name='${arch}'>
      <wordsize>64</wordsize>
      <emulator>/usr/bin/qemu-system-x86_64</emulator>
      <domain type='qemu'/>
      <domain type='kvm'/>
    </arch>
  </guest>
</capabilities>
`,
    };
  },

  connectGetSysinfo: (_, { hypervisor }) => ({
    xml: `<sysinfo type='smbios'>
  <system>
    <entry name='manufacturer'>virtlens</entry>
    <entry name='product'>simulated hypervisor</entry>
    <entry name='version'>${escapeText(hypervisor.host.libvirtVersion)}</entry>
  </system>
</sysinfo>
`,
  }),

  nodeGetInfo(_, { hypervisor }) {
    const { cpuModel: model, memoryKiB, cpus, mhz } = hypervisor.host;
    return { model, memoryKiB, cpus, mhz, nodes: 1, sockets: 1, cores: cpus, threads: 1 };
  },
  nodeGetFreeMemory: (_, { hypervisor }) => ({ freeBytes: Math.floor(hypervisor.host.memoryKiB / 4) * 1024 }),
  nodeGetMemoryStats(_, { hypervisor }) {
    const total = hypervisor.host.memoryKiB;
    const params = [
      { field: 'total', value: total },
      { field: 'free', value: Math.floor(total / 4) },
      { field: 'buffers', value: Math.floor(total / 100) },
      { field: 'cached', value: Math.floor(total / 10) },
    ];
    return { params, count: params.length };
  },
  nodeGetCpuMap(_, { hypervisor }) {
    const { cpus } = hypervisor.host;
    return { cpuMap: allCpus(cpus), online: cpus, count: cpus };
  },
  nodeGetSecurityModel: () => ({ model: '', doi: '' }),
  connectListAllNetworks: () => ({ networks: [], count: 0 }),
} satisfies Handlers;

/** A bitmap with the first `count` CPUs set. */
export function allCpus(count: number): Uint8Array {
  const map = new Uint8Array(Math.ceil(count / 8));
  for (let cpu = 0; cpu < count; cpu++) map[cpu >> 3]! |= 1 << (cpu & 7);
  return map;
}

/** What a client gets that is not let in. */
export function authenticationFailed(reason = 'authentication failed'): DaemonError {
  return new DaemonError(REMOTE_ERROR.authFailed, ERROR_DOMAIN.rpc, `authentication failed: ${reason}`);
}
