{{/* Values of the previous release that this one still accepts, one a line, each with its new name. NOTES.txt prints them. */}}
{{- define "checkpoint-agent.deprecated" -}}
{{- $metrics := .Values.metrics | default dict -}}
{{- range $name := list "podMonitor" "serviceMonitor" -}}
{{- if kindIs "bool" (get $metrics $name) }}
metrics.{{ $name }} (true or false) is now metrics.{{ $name }}.enabled
{{- end -}}
{{- end -}}
{{- range $old, $new := dict
  "interval" "metrics.podMonitor.interval or metrics.serviceMonitor.interval"
  "rules" "metrics.prometheusRule.enabled"
  "dashboard" "metrics.grafanaDashboard.enabled"
  "labels" "metrics.podMonitor.labels, metrics.serviceMonitor.labels and metrics.prometheusRule.labels"
  "dashboardLabels" "metrics.grafanaDashboard.labels" -}}
{{- if hasKey $metrics $old }}
metrics.{{ $old }} is now {{ $new }}
{{- end -}}
{{- end -}}
{{- if hasKey .Values "runtimeFolder" }}
runtimeFolder is now runtimeDirectory
{{- end -}}
{{- if and (hasKey .Values "terminationGracePeriodSeconds") (kindIs "invalid" .Values.terminationGracePeriodSeconds | not) -}}
{{- if not .Values.terminationGracePeriodSeconds }}
terminationGracePeriodSeconds: 0 is now terminationGracePeriodSeconds: null
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The section `metrics` with every key, whichever release wrote the values: `helm upgrade --reuse-values` brings the
defaults of the previous chart and none of this one.
*/}}
{{- define "checkpoint-agent.metrics" -}}
{{- $given := .Values.metrics | default dict -}}
{{- $monitor := dict "enabled" false "interval" "30s" "scrapeTimeout" "" "honorLabels" false
  "labels" dict "annotations" dict "relabelings" list "metricRelabelings" list -}}
{{- $rule := dict "enabled" false "labels" dict "annotations" dict "runbookUrl" "" -}}
{{- $dashboard := dict "enabled" false "labels" (dict "grafana_dashboard" "1") "annotations" dict -}}
{{- $metrics := dict "from" ($given.from | default list) -}}
{{- range $name, $defaults := dict
  "podMonitor" $monitor "serviceMonitor" $monitor "prometheusRule" $rule "grafanaDashboard" $dashboard -}}
{{- $section := get $given $name | default dict -}}
{{- if kindIs "bool" $section -}}{{- $section = dict "enabled" $section -}}{{- end -}}
{{- $section = mergeOverwrite (deepCopy $defaults) (deepCopy $section) -}}
{{- if ne $name "grafanaDashboard" -}}
{{- $_ := set $section "labels" (merge $section.labels ($given.labels | default dict)) -}}
{{- end -}}
{{- if and $given.interval (eq (get $section "interval") "30s") -}}
{{- $_ := set $section "interval" $given.interval -}}
{{- end -}}
{{- $_ := set $metrics $name $section -}}
{{- end -}}
{{- if $given.rules -}}{{- $_ := set $metrics.prometheusRule "enabled" true -}}{{- end -}}
{{- if $given.dashboard -}}{{- $_ := set $metrics.grafanaDashboard "enabled" true -}}{{- end -}}
{{- with $given.dashboardLabels -}}
{{- $_ := set $metrics.grafanaDashboard "labels" (mergeOverwrite $metrics.grafanaDashboard.labels (deepCopy .)) -}}
{{- end -}}
{{- if and $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled: enable one of them, because with both Prometheus scrapes every agent twice" -}}
{{- end -}}
{{- toYaml $metrics -}}
{{- end -}}
