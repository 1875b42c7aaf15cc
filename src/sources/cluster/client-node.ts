/**
 * The only import from client-node, loaded when a cluster is used. It is a separate module, so that the build sees that one
 * name is used and leaves out the generated API classes, which would be two thirds of the built file.
 */
export { KubeConfig } from "@kubernetes/client-node";
