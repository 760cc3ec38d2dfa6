/* Exports are operations of the database; what is sent of one comes out of the object store as an artifact does. */
#include "webapp/server/artifact_content.h"
#include "webapp/server/routes.h"

void web_exports_content(struct web_request *request)
{
	web_api_call(request, NULL, web_content_answer);
}
