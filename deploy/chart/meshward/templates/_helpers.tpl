{{- define "meshward.labels" -}}
app.kubernetes.io/name: meshward
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "meshward.metadata" -}}
name: meshward
namespace: {{ .Release.Namespace }}
labels: {{- include "meshward.labels" . | nindent 2 }}
{{- end }}

{{- define "meshward.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}{{ end }}
{{- end }}
{{- end }}

{{- /* Where the certificate comes from. A Meshward outside of the cluster has one of its own. */ -}}
{{- define "meshward.certificates" -}}
{{- if .Values.webhooks.url }}secret{{ else }}{{ .Values.certificates.source }}{{ end }}
{{- end }}

{{- /* What the API server calls: a list of the root and the path. */ -}}
{{- define "meshward.clientConfig" -}}
{{- $root := index . 0 }}{{ $path := index . 1 }}
{{- with $root.Values.webhooks }}
{{- if .url }}
url: {{ printf "%s%s" (.url | trimSuffix "/") $path | quote }}
{{- else }}
service:
  port: 443
  name: meshward
  namespace: {{ $root.Release.Namespace | quote }}
  path: {{ $path }}
{{- end }}
{{- with .caBundle }}
caBundle: {{ b64enc . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Exact names of protected namespaces: those of the values, and those of the policies. A selector has no globs. */ -}}
{{- define "meshward.protectedNamesJson" -}}
{{- $names := .Values.webhooks.protected.names }}
{{- range .Values.policies }}
{{- $names = concat $names (dig "spec" "protectedNamespaces" "names" list .) }}
{{- end }}
{{- $exact := list }}
{{- range $names }}{{ if not (contains "*" .) }}{{ $exact = append $exact . }}{{ end }}{{ end }}
{{- $exact | uniq | sortAlpha | toJson }}
{{- end }}

{{- define "meshward.protectedNamesCel" -}}
[{{ range $i, $name := include "meshward.protectedNamesJson" . | fromJsonArray }}{{ if $i }}, {{ end }}'{{ $name }}'{{ end }}]
{{- end }}

{{- define "meshward.protectedKey" -}}{{ keys .Values.webhooks.protected.labels | first }}{{- end }}
{{- define "meshward.protectedValue" -}}{{ values .Values.webhooks.protected.labels | first }}{{- end }}

{{- /* By what the namespaces are selected in which Meshward fails closed: none, names, labels or both. */ -}}
{{- define "meshward.failsClosedBy" -}}
{{- $protected := .Values.webhooks.protected }}
{{- $byNames := ne (include "meshward.protectedNamesJson" .) "[]" }}
{{- $byLabels := gt (len $protected.labels) 0 }}
{{- if eq $protected.failurePolicy "Ignore" }}none
{{- else if and $byNames $byLabels }}both
{{- else if $byNames }}names
{{- else if $byLabels }}labels
{{- else }}none
{{- end }}
{{- end }}

{{- /* Values that contradict each other. */ -}}
{{- define "meshward.contradictions" -}}
{{- if and .Values.webhooks.caBundle (not .Values.webhooks.url) (ne .Values.certificates.source "secret") }}
{{- fail (printf "webhooks.caBundle would be overwritten, because certificates.source is %s: remove webhooks.caBundle, or set certificates.source to secret" .Values.certificates.source) }}
{{- end }}
{{- if and .Values.certificates.issuerRef (ne .Values.certificates.source "cert-manager") }}
{{- fail (printf "certificates.issuerRef is for certificates.source cert-manager, and it is %s: remove one of them" .Values.certificates.source) }}
{{- end }}
{{- if and .Values.certificates.secretName (ne .Values.certificates.source "secret") }}
{{- fail (printf "certificates.secretName is for certificates.source secret, and it is %s: remove one of them" .Values.certificates.source) }}
{{- end }}
{{- if and .Values.clients.names (not .Values.clients.authorityConfigMap) }}
{{- fail "clients.names needs clients.authorityConfigMap, the authorities of the client certificates" }}
{{- end }}
{{- if and .Values.clients.authorityConfigMap .Values.webhooks.url }}
{{- fail "clients is about a Meshward in the cluster, and webhooks.url about one outside of it: remove one of them" }}
{{- end }}
{{- if eq .Release.Namespace .Values.istioNamespace }}
{{- fail (printf "the release is in Istio's namespace %s, whose objects Meshward must check, and a namespace is never sent to the Meshward in it: install with --namespace meshward-system" .Release.Namespace) }}
{{- end }}
{{- if has .Release.Namespace (list "default" "kube-system" "kube-public" "kube-node-lease") }}
{{- fail (printf "the release is in namespace %s, whose objects would never be sent to Meshward: install with --namespace meshward-system" .Release.Namespace) }}
{{- end }}
{{- if and (eq (int .Values.replicas) 1) (eq .Values.webhooks.failurePolicy "Fail") }}
{{- fail "webhooks.failurePolicy is Fail and replicas is 1: every restart would refuse changes in all namespaces; set replicas to 2 or more, or webhooks.failurePolicy to Ignore" }}
{{- end }}
{{- if eq (int .Values.ports.https) (int .Values.ports.ops) }}
{{- fail (printf "ports.https and ports.ops are both %v: set different ports" .Values.ports.https) }}
{{- end }}
{{- with lookup "v1" "Namespace" "" .Release.Namespace }}
{{- $labels := .metadata.labels | default dict }}
{{- if or (eq (get $labels "istio-injection") "enabled") (eq (get $labels "istio.io/dataplane-mode") "ambient") (hasKey $labels "istio.io/rev") }}
{{- fail (printf "namespace %s is in the mesh, which would keep the API server from calling Meshward: kubectl label namespace %s istio-injection=disabled istio.io/dataplane-mode=none istio.io/rev- --overwrite" $.Release.Namespace $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
