import { index, relation } from "../../view/view.ts";
import { aliasByAliasedHost, aliasByCoveringHosts, isAlias } from "./aliased-hosts.ts";
import { serviceEntryByHost } from "./definition-choice.ts";
import { destinationRuleByHost, exactSubsetHosts } from "./destination-rules.ts";
import { hostOfService } from "./hosts.ts";

const aliasByOwnHost = index("Service", (service, { domain }) =>
  isAlias(service) ? [hostOfService(service, domain)] : [],
);

/** A VirtualService and the aliases (Services with an ExternalName) of which it names a subset. */
export const aliasesOfSubsets = relation("aliasesOfSubsets", exactSubsetHosts, aliasByOwnHost);
/** An alias and the VirtualServices that name a subset of it. */
export const subsetUsersOfAlias = relation("subsetUsersOfAlias", aliasByOwnHost, exactSubsetHosts);

/** An alias and every DestinationRule, of any namespace, that can match the host that it stands for. */
export const destinationRulesOfAlias = relation("destinationRulesOfAlias", aliasByCoveringHosts, destinationRuleByHost);
/** A DestinationRule and the aliases that stand for a host which it can match. */
export const aliasesOfDestinationRule = relation(
  "aliasesOfDestinationRule",
  destinationRuleByHost,
  aliasByCoveringHosts,
);

/** A DestinationRule and the aliases that stand for exactly its host; none for a wildcard. */
export const namesOfDestinationRule = relation("namesOfDestinationRule", destinationRuleByHost, aliasByAliasedHost);

/** An alias and the ServiceEntries that may have a name for the host that it stands for. */
export const entriesOfAlias = relation("entriesOfAlias", aliasByCoveringHosts, serviceEntryByHost);
