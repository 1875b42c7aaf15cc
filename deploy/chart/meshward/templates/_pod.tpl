{{- /* What the pods of the Deployment, of the hook and of the test have in common: a list of the root and the account. */ -}}
{{- define "meshward.podSpec" -}}
{{- $account := index . 1 }}
{{- with index . 0 }}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ $account }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- $values := .Values }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $values $field }}
{{ $field }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "meshward.container" -}}
image: {{ include "meshward.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "meshward.tokenMount" -}}
- { name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
{{- end }}

{{- /* A token that expires, mounted where clients look for the one that would be mounted automatically. */ -}}
{{- define "meshward.tokenVolume" -}}
- name: token
  projected:
    defaultMode: 288 # 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap:
          name: kube-root-ca.crt
          items: [{ key: ca.crt, path: ca.crt }]
      - downwardAPI:
          items:
            - path: namespace
              fieldRef: { apiVersion: v1, fieldPath: metadata.namespace }
{{- end }}

{{- /* Options of serve with numbers: the value, and the default of serve, which is left out. */}}
{{- define "meshward.numbers" -}}
audit-interval: [{{ int64 .Values.audit.intervalSeconds }}, 3600]
drain-seconds: [{{ int64 .Values.drainSeconds }}, 10]
max-staleness: [{{ int64 .Values.maxStalenessSeconds }}, 300]
object-limit: [{{ int64 .Values.review.objectLimitBytes }}, 1572864]
ops-port: [{{ int64 .Values.ports.ops }}, 8080]
port: [{{ int64 .Values.ports.https }}, 8443]
review-budget: [{{ int64 .Values.review.budgetMilliseconds }}, 500]
{{- if eq .Values.certificates.source "self-signed" }}
rotation-wait: [{{ int64 .Values.certificates.rotationWaitSeconds }}, 600]
{{- end }}
{{- end }}

{{- /* The same for texts. */}}
{{- define "meshward.texts" -}}
audit-reports: [{{ .Values.audit.reports | quote }}, auto]
cluster-domain: [{{ .Values.clusterDomain | quote }}, cluster.local]
docs-url: [{{ .Values.docsUrl | quote }}, ""]
log-level: [{{ .Values.logLevel | quote }}, info]
{{- end }}
