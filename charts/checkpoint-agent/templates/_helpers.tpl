{{- define "checkpoint-agent.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "checkpoint-agent.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "checkpoint-agent.labels" -}}
{{ include "checkpoint-agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The configuration file: the values, and what follows from the mounts. */}}
{{- define "checkpoint-agent.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.mountCgroups -}}
{{- $config = mergeOverwrite $config (dict "freezeGuard" (dict "cgroupRoot" "/host/cgroup")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The image has no shell and no curl, but it has node. */}}
{{- define "checkpoint-agent.probe" -}}
{{- $server := .root.Values.config.server -}}
{{- $target := printf "{ socketPath: '%s', path: '%s' }" $server.socket .path -}}
{{- if not $server.socket -}}
{{- $target = printf "'http://%s%s'" $server.address .path -}}
{{- end -}}
exec:
  command:
    - node
    - -e
    - "require('node:http').get({{ $target }}, (answer) => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"
{{- end -}}
