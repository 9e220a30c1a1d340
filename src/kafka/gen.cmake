# Kafka's tables (messages.txt, peer-messages.txt, coordinator-records.txt, errors.txt, configs.txt) become structs, descriptors and enums.
set(FLOE_KAFKA_GEN
  ${FLOE_GEN}/floe/gen/kafka_messages.h ${FLOE_GEN}/floe/gen/kafka_messages.c
  ${FLOE_GEN}/floe/gen/kafka_errors.h ${FLOE_GEN}/floe/gen/kafka_errors.c
  ${FLOE_GEN}/floe/gen/kafka_configs.c)
set(FLOE_KAFKA_SRC ${CMAKE_SOURCE_DIR}/src/kafka)
add_custom_command(
  OUTPUT ${FLOE_KAFKA_GEN}
  COMMAND ${Python3_EXECUTABLE} ${FLOE_KAFKA_SRC}/gen.py ${FLOE_KAFKA_SRC} ${FLOE_GEN}/floe/gen
  DEPENDS ${FLOE_KAFKA_SRC}/gen.py ${FLOE_KAFKA_SRC}/messages.txt ${FLOE_KAFKA_SRC}/peer-messages.txt
    ${FLOE_KAFKA_SRC}/coordinator-records.txt
    ${FLOE_KAFKA_SRC}/errors.txt ${FLOE_KAFKA_SRC}/configs.txt
  COMMENT "Kafka's tables")
list(APPEND FLOE_GEN_SOURCES ${FLOE_KAFKA_GEN})
