{{- define "wafleet.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-wafleet" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "wafleet.selector" -}}
app.kubernetes.io/name: wafleet
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wafleet.labels" -}}
{{ include "wafleet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
