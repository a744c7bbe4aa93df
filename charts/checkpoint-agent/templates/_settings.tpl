{{/* Everything that the preset and the values determine: `include "checkpoint-agent.settings" . | fromYaml`. */}}
{{- define "checkpoint-agent.settings" -}}
{{- $presets := .Files.Get "presets.yaml" | fromYaml -}}
{{- $preset := dict -}}
{{- with .Values.preset -}}{{- $preset = get $presets . -}}{{- end -}}
{{- $mountCgroups := or .Values.mountCgroups $preset.mountCgroups | default false -}}
{{- $config := dict
  "checkpoints" (dict "directory" "/var/lib/kubelet/checkpoints")
  "state" (dict "directory" "/var/lib/checkpoint-agent")
  "shutdown" (dict "captureGrace" "10m") -}}
{{- $config = mergeOverwrite $config (deepCopy ($preset.config | default dict)) (deepCopy .Values.config) -}}
{{- if $mountCgroups -}}
{{- $config = mergeOverwrite $config (dict "freezeGuard" (dict "cgroupRoot" "/host/cgroup")) -}}
{{- end -}}
{{- $tlsSecret := .Values.tls.secretName -}}
{{- if .Values.tls.certManager.enabled -}}
{{- $tlsSecret = printf "%s-tls" (include "checkpoint-agent.fullname" .) -}}
{{- end -}}
{{- if $tlsSecret -}}
{{- $files := dict "certFile" "/etc/checkpoint-agent-tls/tls.crt" "keyFile" "/etc/checkpoint-agent-tls/tls.key" -}}
{{- $config = mergeOverwrite $config (dict "server" (dict "tls" $files)) -}}
{{- end -}}
{{- $server := $config.server -}}
{{- $metrics := include "checkpoint-agent.metrics" . | fromYaml -}}
{{- $asksKubernetes := eq $server.auth.mode "kubernetes" -}}
{{- $isReachable := and (ne $server.address "") (not (regexMatch "^(127\\.|localhost:|\\[::1\\])" $server.address)) -}}
{{- if and $isReachable (not $asksKubernetes) -}}
{{- fail (printf "config.server.auth.mode %s does not ask the API server who may call, so config.server.address must be loopback or empty, not %s" $server.auth.mode $server.address) -}}
{{- end -}}
{{- if and $isReachable (contains "%" $server.address) -}}
{{- fail (printf "config.server.address %s: use an address of the pod without a zone" $server.address) -}}
{{- end -}}
config:
  {{- toYaml $config | nindent 2 }}
runtimeDirectory: {{ .Values.runtimeDirectory | default .Values.runtimeFolder | default $preset.runtimeDirectory | default "/run/containerd" }}
mountCgroups: {{ $mountCgroups }}
crioStorage: {{ ternary (dig "runtime" "crioStorage" "/var/lib/containers/storage/overlay-containers" $config) "" .Values.mountCrioStorage | quote }}
seLinuxType: {{ .Values.seLinuxType | default $preset.seLinuxType | default "" | quote }}
securityContextConstraints: {{ $preset.securityContextConstraints | default false }}
tlsSecret: {{ $tlsSecret | quote }}
asksKubernetes: {{ $asksKubernetes }}
isReachable: {{ $isReachable }}
port: {{ regexFind "[0-9]+$" $server.address | default "0" }}
gracePeriodSeconds: {{ include "checkpoint-agent.gracePeriod" (dict "grace" $config.shutdown.captureGrace "seconds" .Values.terminationGracePeriodSeconds) }}
metrics:
  {{- toYaml $metrics | nindent 2 }}
isScraped: {{ and $isReachable (or $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled) }}
createsRoles: {{ and $asksKubernetes (dig "create" true (.Values.rbac | default dict)) }}
{{- end -}}

{{/* Kubernetes kills the pod at the end of the grace period; captures in flight may take captureGrace. */}}
{{- define "checkpoint-agent.gracePeriod" -}}
{{- $seconds := 0 -}}
{{- range $unit, $each := dict "d" 86400 "h" 3600 "m" 60 "s" 1 -}}
{{- $found := regexFind (printf "[0-9]+%s([0-9]|$)" $unit) $.grace -}}
{{- $seconds = add $seconds (mul $each (regexFind "^[0-9]+" $found | int64)) -}}
{{- end -}}
{{- $least := add $seconds 30 -}}
{{- if not $.seconds -}}
{{- $least -}}
{{- else if lt (int64 $.seconds) (int64 $least) -}}
{{- fail (printf "terminationGracePeriodSeconds %d: use at least %d, half a minute more than config.shutdown.captureGrace (%s)" (int64 $.seconds) (int64 $least) $.grace) -}}
{{- else -}}
{{- int64 $.seconds -}}
{{- end -}}
{{- end -}}

{{/* Without a port, node asks over the socket: the image has neither a shell nor curl. */}}
{{- define "checkpoint-agent.probe" -}}
{{- $server := .settings.config.server -}}
{{- if .settings.isReachable -}}
httpGet:
  path: {{ .path }}
  port: agent
  scheme: HTTPS
{{- else -}}
{{- $client := ternary "https" "http" (and .settings.asksKubernetes (not $server.socket)) -}}
{{- $target := printf "{ socketPath: '%s', path: '%s' }" $server.socket .path -}}
{{- if not $server.socket -}}
{{- $target = printf "'%s://%s%s', { rejectUnauthorized: false }" $client $server.address .path -}}
{{- end -}}
exec:
  command:
    - node
    - -e
    - "require('node:{{ $client }}').get({{ $target }}, (answer) => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"
{{- end -}}
{{- end -}}
