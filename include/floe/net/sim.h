/* The `sim` peer driver: calls between nodes by address, with partitions and refused connections.
 *
 *  1. An address nobody listens at, or whose node is dead: FLOE_EREFUSED after a round trip. A node whose
 * machine is gone (floe_sim_net_vanish) answers nothing: FLOE_ETIMEOUT.
 *  2. A stalled node answers when it goes on. A node that dies while it has the request: FLOE_ECLOSED.
 *  3. Across a cut nothing passes, in the direction that is cut: the caller sees FLOE_ETIMEOUT.
 */
#ifndef FLOE_NET_SIM_H
#define FLOE_NET_SIM_H

#include <floe/net/peer.h>
#include <floe/os/sim.h>

struct floe_sim_net;
struct floe_sim_net *floe_sim_net_create(struct floe_sim *sim); /* freed with the world */
/* A node's driver; freed with the world. */
struct floe_peers *floe_sim_peers_create(struct floe_sim_net *net, struct floe_sim_node *n);
/* Serves `addr` on the node. `serve` writes the response body and returns true, or false to close the
 * connection without an answer. */
void floe_sim_net_listen(struct floe_sim_net *net, struct floe_sim_node *n, const char *addr,
                         bool (*serve)(void *user, int16_t api_key, int16_t api_version,
                                       struct floe_slice body, struct floe_writer *response),
                         void *user);
/* The same for who answers later: each request brings its reply, which must be given back by
 * floe_sim_net_reply, once, even when the node has died (it then goes nowhere). Null bytes close the
 * connection without an answer. */
struct floe_sim_reply;
void floe_sim_net_listen_later(struct floe_sim_net *net, struct floe_sim_node *n, const char *addr,
                               void (*serve)(void *user, int16_t api_key, int16_t api_version,
                                             struct floe_slice body, struct floe_sim_reply *reply),
                               void *user);
void floe_sim_net_reply(struct floe_sim_reply *reply, const void *p, size_t n);
void floe_sim_net_unlisten(struct floe_sim_net *net, const char *addr);
/* Nodes are named by their story names, so that a cut outlives a restart. */
void floe_sim_net_cut(struct floe_sim_net *net, const char *from, const char *to, bool cut);
void floe_sim_net_cut_all(struct floe_sim_net *net, const char *name,
                          bool cut); /* both ways, from and to all */
void floe_sim_net_heal(struct floe_sim_net *net);
/* The node's machine is off: connections to its addresses time out from now on. */
void floe_sim_net_vanish(struct floe_sim_net *net, const char *name, bool gone);
/* Chance that a frame is lost on its way (the connection hangs), parts per million. */
void floe_sim_net_loss(struct floe_sim_net *net, uint32_t ppm);

#endif
