// The program of the containers that are measured: it starts and ends, and
// little else, so that what is measured is the container.

int main(void) { return 0; }
