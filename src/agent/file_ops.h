#ifndef FILE_OPS_H
#define FILE_OPS_H

/* What op_read_file leaves in c->nums with the descriptor of a file that the loop shall send. */
enum { READ_FROM, READ_END };

#endif
