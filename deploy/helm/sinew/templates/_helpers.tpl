{{- define "sinew.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "sinew.labels" -}}
app.kubernetes.io/name: sinew
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sinew.url" -}}
{{- if .Values.url -}}
{{- .Values.url -}}
{{- else if .Values.nats.enabled -}}
{{- printf "%s://%s-nats:4222" (ternary "tls" "nats" (ne .Values.tls.secret "")) .Release.Name -}}
{{- else -}}
{{- fail "say where the NATS servers are: url, or nats.enabled" -}}
{{- end -}}
{{- end -}}

{{- /* What every process of Sinew is told, whichever pod it is in. */ -}}
{{- define "sinew.env" -}}
- name: SINEW_URL
  value: {{ include "sinew.url" . | quote }}
- name: SINEW_ORG
  value: {{ .Values.org | quote }}
- name: SINEW_CREDS
  value: /etc/sinew/creds/sinew.creds
- name: SINEW_SIGNATURES
  value: {{ .Values.signatures | quote }}
{{- if .Values.trust.secret }}
- name: SINEW_TRUST
  value: /etc/sinew/trust/trust.json
{{- end }}
{{- if .Values.tls.secret }}
- name: SINEW_TLS_CA
  value: /etc/sinew/tls/ca.crt
{{- if .Values.tls.mutual }}
- name: SINEW_TLS_CERT
  value: /etc/sinew/tls/tls.crt
- name: SINEW_TLS_KEY
  value: /etc/sinew/tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "sinew.mounts" -}}
- { name: creds, mountPath: /etc/sinew/creds, readOnly: true }
{{- if .Values.trust.secret }}
- { name: trust, mountPath: /etc/sinew/trust, readOnly: true }
{{- end }}
{{- if .Values.tls.secret }}
- { name: tls, mountPath: /etc/sinew/tls, readOnly: true }
{{- end }}
{{- end -}}

{{- /* Takes a list: the root, and the secret with the credentials. */ -}}
{{- define "sinew.volumes" -}}
{{- $root := index . 0 -}}
{{- $credentials := index . 1 -}}
- name: creds
  secret:
    secretName: {{ required "the secret with the credentials: credentials.secret" $credentials.secret }}
    defaultMode: 0440
    items: [{ key: {{ $credentials.key | default "sinew.creds" | quote }}, path: sinew.creds }]
{{- if $root.Values.trust.secret }}
- name: trust
  secret:
    secretName: {{ $root.Values.trust.secret }}
    items: [{ key: {{ $root.Values.trust.key | quote }}, path: trust.json }]
{{- end }}
{{- if $root.Values.tls.secret }}
- name: tls
  secret: { secretName: {{ $root.Values.tls.secret }}, defaultMode: 0440 }
{{- end }}
{{- end -}}

{{- define "sinew.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "sinew.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}
