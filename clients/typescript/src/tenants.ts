/** Tenants, from messages to what a caller gets. */

import type { ImportTenantResponse } from "./gen/memsvc/v1/tenants_pb.js";
import type { Tenant as TenantMessage } from "./gen/memsvc/v1/types_pb.js";
import { plain } from "./plain.js";
import { memorySettings, policySettings } from "./settings.js";
import type { Imported, Tenant } from "./tenant-types.js";

/** Return a tenant. */
export function tenant(message: TenantMessage): Tenant {
  const { tenant: id, uid, createTime, contextMemory } = plain(message);
  return {
    tenant: id,
    uid,
    createTime: createTime!,
    settings: { ...memorySettings(message.memory), ...policySettings(message.policies) },
    ...(contextMemory && { contextMemory }),
  };
}

/** Return what an import made. */
export function imported(message: ImportTenantResponse): Imported {
  return { tenant: tenant(message.tenant!), headSeq: Number(message.headSeq), adopted: message.adopted };
}
