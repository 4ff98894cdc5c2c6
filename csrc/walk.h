/* walk: the loop over the nodes in a backward pass. */
#ifndef TT_WALK_H
#define TT_WALK_H

#include "pass.h"

void walk_reach(tt_pass *p, const tt_tensor *t); /* the survey is to come by its node */
void walk_mark_needed(const tt_pass *p);
tt_status walk_survey(tt_pass *p); /* from `at` on; finds what forbids the pass */
tt_status walk_nodes(tt_pass *p);  /* from `at` on; TT_PAUSED */
tt_status walk_refuse_freed(const tt_tensor *t, const char *op);
/* Adds to the gradient of t, in a pass without and with a graph. */
tt_status walk_receive(tt_pass *p, tt_tensor *t, const char *op, void **dx, bool *acc);
tt_status walk_add(tt_pass *p, tt_tensor *t, tt_tensor *dx, const char *op);
void walk_spare(tt_pass *p, tt_tensor *t); /* nobody reads the cotangent of t any more */

#endif
