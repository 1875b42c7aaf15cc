/**
 * All that Meshward takes of client-node, loaded once a cluster is asked for. A module of its own, so that the build
 * sees which one name is used and leaves out the generated API classes, two thirds of the built file otherwise.
 */
export { KubeConfig } from "@kubernetes/client-node";
