{{- define "checkpoint-agent.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* The longest suffix that the chart adds has ten characters; names of Kubernetes have at most 63. */}}
{{- define "checkpoint-agent.fullname" -}}
{{- $name := include "checkpoint-agent.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "checkpoint-agent.selector" -}}
app.kubernetes.io/name: {{ include "checkpoint-agent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The chart's labels win over equal keys of `extra` and of commonLabels: selectors depend on them. */}}
{{- define "checkpoint-agent.labelsWith" -}}
{{- $labels := dict
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) -}}
{{- $labels = merge (include "checkpoint-agent.selector" .root | fromYaml) $labels -}}
{{- toYaml (merge $labels (.extra | default dict) (.root.Values.commonLabels | default dict)) -}}
{{- end -}}

{{- define "checkpoint-agent.labels" -}}
{{- include "checkpoint-agent.labelsWith" (dict "root" .) -}}
{{- end -}}

{{- define "checkpoint-agent.serviceAccountName" -}}
{{- $account := .Values.serviceAccount | default dict -}}
{{- $default := ternary (include "checkpoint-agent.fullname" .) "default" (dig "create" true $account) -}}
{{- $account.name | default $default -}}
{{- end -}}

{{/* global.imageRegistry replaces the registry of image.registry or, where there is none, that of image.repository. */}}
{{- define "checkpoint-agent.image" -}}
{{- $image := .Values.image -}}
{{- $repository := $image.repository -}}
{{- $global := dig "imageRegistry" "" (.Values.global | default dict) -}}
{{- $registry := $global | default $image.registry -}}
{{- if and $global (not $image.registry) -}}
{{- $repository = regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "" -}}
{{- end -}}
{{- if $registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
