/**
 * The only import from client-node, loaded when a cluster is used. It is a separate module, because the built file has only
 * what this class needs to read kubeconfigs and to obtain credentials (generate/built-file.ts).
 */
export { KubeConfig } from "@kubernetes/client-node";
