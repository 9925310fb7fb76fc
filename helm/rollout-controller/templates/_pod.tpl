{{/* What every pod of the chart has in common. */}}

{{- define "rollout-controller.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The restricted Pod Security Standard, and no way to talk to the cluster. */}}
{{- define "rollout-controller.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "rollout-controller.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Secret values by reference: dict "root" $ "names" (list "DATABASE_URL" …) */}}
{{- define "rollout-controller.secretEnvironment" -}}
{{- $keys := dict
  "DATABASE_URL" .root.Values.secretKeys.databaseUrl
  "REDIS_URL" .root.Values.secretKeys.redisUrl
  "CONTROLLER_SECRET_KEY" .root.Values.secretKeys.secretKey -}}
{{- range .names }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.root.Values.existingSecret }}
      key: {{ get $keys . }}
{{- end -}}
{{- end -}}

{{/* The two places that are written to; both are lost with the pod, and may be. */}}
{{- define "rollout-controller.volumeMounts" -}}
volumeMounts:
  - name: data
    mountPath: /var/lib/controller
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{- define "rollout-controller.volumes" -}}
volumes:
  - name: data
    emptyDir: {}
  - name: tmp
    emptyDir: {}
{{- end -}}

{{- define "rollout-controller.scheduling" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
