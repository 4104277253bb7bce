// Bounds of texts from outside before they are kept or logged: libvirt's messages may have 1 MB, names 4 MB.

/** Of a message. */
export const MESSAGE_MAX = 500;
/** Of a VM's name. */
export const NAME_MAX = 200;
