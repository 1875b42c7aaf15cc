import type { ObjectOf } from "../../kube/object.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;
type Rule = AuthorizationPolicy["spec"]["rules"][number];
export const destinationPort = "destination.port";

/** Whether lists of ports are for a port; an empty list names none. Zeros before a number do not count (authz/model/util.go convertToPort). */
export const isForPort = (ports: readonly string[], notPorts: readonly string[], port: number): boolean =>
  (ports.length === 0 || includesPort(ports, port)) && !includesPort(notPorts, port);
const includesPort = (ports: readonly string[], port: number): boolean => ports.some((one) => Number(one) === port);

/** Whether a rule can match connections to a port, by its operations and its conditions. */
export const isRuleForPort = ({ to, when }: Rule, port: number): boolean =>
  (to.length === 0 || to.some(({ operation }) => isForPort(operation.ports, operation.notPorts, port))) &&
  when.every(({ key, values, notValues }) => key !== destinationPort || isForPort(values, notValues, port));

/** The ports that a rule names in operations and conditions. */
export const portsNamedBy = ({ to, when }: Rule): readonly number[] =>
  [
    ...to.flatMap(({ operation }) => operation.ports),
    ...when.flatMap(({ key, values }) => (key === destinationPort ? values : [])),
  ].map(Number);
