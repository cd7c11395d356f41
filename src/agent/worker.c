#include "worker.h"

int worker_main(void)
{
	return 2;
}
