/* The supervisor's side of the sandbox warden: fills the port lib/ports/sandbox.h over a unix socket. */
#ifndef WL_SUPERVISOR_WARDEN_CLIENT_H
#define WL_SUPERVISOR_WARDEN_CLIENT_H

#include "lib/ports/sandbox.h"

/*
 * Make a port whose calls go to the warden that listens on `socket_path` (setting warden_socket). Each call opens a
 * connection of its own, so a warden that was started anew is found again without further ado.
 * Returns 0 and fills *ret_port, which the caller ends with ret_port->close(ret_port->self); -EINVAL for a path that
 * is empty or too long for a unix socket; -ENOMEM.
 */
int warden_client_open(const char *socket_path, struct sandbox_port *ret_port, struct wl_error *err);

#endif
