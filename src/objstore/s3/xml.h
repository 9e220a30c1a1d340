/* A bounded reader for the XML that S3 answers with: elements and text, no attributes, no DTD.
 *
 * What it is: a pull reader over bytes in memory, made for bytes from outside: anything it does not know ends
 * it with `bad`. What it is not: a validating parser; names are compared without their prefix.
 *
 *  1. s3_xml_next gives S3_XML_START and S3_XML_END with `name`, S3_XML_TEXT with `text` (entities decoded),
 * S3_XML_DONE at the end of the outermost element. After an error it gives S3_XML_BAD for ever.
 *  2. Names are up to 63 bytes, nesting up to 16, text up to S3_XML_TEXT_MAX bytes a piece (longer is bad).
 */
#ifndef FLOE_OBJSTORE_S3_XML_H
#define FLOE_OBJSTORE_S3_XML_H

#include <floe/base/bytes.h>

#define S3_XML_NAME_MAX 64
#define S3_XML_DEPTH_MAX 16
#define S3_XML_TEXT_MAX 8192

enum s3_xml_event { S3_XML_START, S3_XML_END, S3_XML_TEXT, S3_XML_DONE, S3_XML_BAD };
struct s3_xml {
    const char *p, *end;
    bool bad, pending_end; /* pending_end: of an element without content, <a/> */
    int depth;
    char open[S3_XML_DEPTH_MAX][S3_XML_NAME_MAX]; /* names of the open elements */
    char name[S3_XML_NAME_MAX];
    char text[S3_XML_TEXT_MAX + 1];
    size_t text_n;
};
void s3_xml_init(struct s3_xml *x, const void *p, size_t n);
enum s3_xml_event s3_xml_next(struct s3_xml *x);

#endif
