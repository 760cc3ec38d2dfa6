/* Templates of flows that come with the installation. */
#ifndef WL_WEBAPP_TEMPLATE_ROUTES_H
#define WL_WEBAPP_TEMPLATE_ROUTES_H

/* Read all templates below a folder ("": there are none). Before the workers are forked: they share what was read. */
void web_templates_load(const char *folder);

#endif
