// Notices that the microphone was allowed in the browser's settings.

/**
 * Calls back whenever the permission changes to "granted". Browsers without the Permissions API, or without a
 * permission of this name, never call back.
 */
export function watchPermission(permissions, onGranted) {
  permissions?.query?.({ name: 'microphone' }).then((permission) => {
    permission.addEventListener('change', () => { if (permission.state === 'granted') onGranted(); });
  }).catch(() => {});
}
